# Perl's LWP::UserAgent, which keeps one connection to a host. Requests at once are processes of their own, with a
# connection of their own.
#
# Nothing is lost: LWP throws nothing. Where no answer comes, it makes one with the status 500 and the header
# `Client-Warning: Internal response`, and it adds other headers that begin with `Client-`. A body that is cut off looks like
# a whole one: only its Content-Length tells. A status such as 103 counts as the answer. It speaks HTTP/1.1 only. It has no
# base URL. It trusts PERL_LWP_SSL_CA_FILE, which the test sets.

use strict;
use warnings;

use HTTP::Request;
use LWP::UserAgent;
use MIME::Base64 qw(decode_base64 encode_base64);
use POSIX ();

$| = 1;
binmode STDIN;
binmode STDOUT;

my $agent = agent();
while (my $line = <STDIN>) {
    chomp $line;
    my ($times, @request) = split /\t/, $line, -1;
    if ($times == 1) {
        print answer($agent, @request);
        next;
    }
    my @pipes;
    for (1 .. $times) {
        my $child = open(my $pipe, '-|') // die "fork: $!";
        if (!$child) {
            # The connection of $agent is the parent's: it must be neither used here nor closed.
            print answer(agent(), @request);
            POSIX::_exit(0);
        }
        push @pipes, $pipe;
    }
    for my $pipe (@pipes) {
        local $/;
        print <$pipe>;
        close $pipe;
    }
}

sub agent {
    my $agent = LWP::UserAgent->new(keep_alive => 1, timeout => 60);
    $agent->default_header(Authorization => "Bearer $ENV{TOKEN}") if $ENV{TOKEN};
    return $agent;
}

sub answer {
    my ($agent, $method, $url, $headers, $body) = @_;
    return failed('no pager') if $method eq 'WALK';
    my $request = HTTP::Request->new($method => $url);
    $request->push_header(split /: /, $_, 2) for split /\n/, decode_base64($headers);
    $request->content(decode_base64($body)) if $body ne '-';
    my $response = eval { $agent->request($request) } or return failed("die $@");
    if (($response->header('Client-Warning') // '') eq 'Internal response') {
        return failed('LWP ' . $response->status_line . ' ' . $response->content);
    }
    my $fields = '';
    $response->headers->scan(sub { $fields .= lc($_[0]) . ": $_[1]\n" });
    my $content = $response->content;
    return join("\t", $response->code, encode_base64($fields, ''),
        length $content ? encode_base64($content, '') : '-') . "\n";
}

sub failed {
    return "ERROR\t" . encode_base64($_[0], '') . "\n";
}

<?php
// PHP's curl extension. One handle, so that its connection is used again; requests at once by one multi handle.
//
// Nothing is lost: only CURLOPT_FAILONERROR would lose the body. It has no base URL. Over TLS, it asks for HTTP/2 unless
// told otherwise. In clear, it can have HTTP/1.1 only: libcurl 7.88 of Debian 12 uses no connection twice after
// CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE.

$handle = curl_init();
$multi = curl_multi_init();
while (($line = fgets(STDIN)) !== false) {
    [$times, $method, $url, $headers, $body] = explode("\t", rtrim($line, "\n"));
    if ($method === 'WALK') {
        say('ERROR', 'no pager');
    } elseif ($times === '1') {
        // Keeps the connection, not the options.
        curl_reset($handle);
        $fields = '';
        set($handle, $fields, $method, $url, $headers, $body);
        $received = curl_exec($handle);
        report($handle, curl_errno($handle), $fields, (string) $received);
    } else {
        many($multi, (int) $times, [$method, $url, $headers, $body]);
    }
}

function many(CurlMultiHandle $multi, int $times, array $request): void
{
    $handles = [];
    $fields = array_fill(0, $times, '');
    for ($number = 0; $number < $times; $number++) {
        $handles[$number] = curl_init();
        set($handles[$number], $fields[$number], ...$request);
        curl_multi_add_handle($multi, $handles[$number]);
    }
    do {
        curl_multi_exec($multi, $running);
        while ($done = curl_multi_info_read($multi)) {
            $number = array_search($done['handle'], $handles, true);
            $received = (string) curl_multi_getcontent($done['handle']);
            report($done['handle'], $done['result'], $fields[$number], $received);
            curl_multi_remove_handle($multi, $done['handle']);
        }
        if ($running) {
            curl_multi_select($multi);
        }
    } while ($running);
}

function set(CurlHandle $handle, string &$fields, string $method, string $url, string $headers, string $body): void
{
    $lines = array_filter(explode("\n", base64_decode($headers)));
    curl_setopt_array($handle, [
        CURLOPT_URL => $url,
        CURLOPT_CUSTOMREQUEST => $method,
        CURLOPT_NOBODY => $method === 'HEAD',
        // `Name: ` takes a header away; `Name;` sends it empty.
        CURLOPT_HTTPHEADER => preg_replace('/^([^:]+): $/', '$1;', $lines),
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_TIMEOUT => 60,
        CURLOPT_HEADERFUNCTION => function ($handle, string $line) use (&$fields): int {
            if (str_starts_with($line, 'HTTP/')) {
                // What came before was not the final answer.
                $fields = '';
            } elseif (str_contains($line, ':')) {
                [$name, $value] = explode(':', $line, 2);
                $fields .= strtolower($name) . ': ' . trim($value) . "\n";
            }
            return strlen($line);
        },
    ]);
    if ($token = getenv('TOKEN')) {
        curl_setopt_array($handle, [CURLOPT_HTTPAUTH => CURLAUTH_BEARER, CURLOPT_XOAUTH2_BEARER => $token]);
    }
    if ($file = getenv('CA_FILE')) {
        curl_setopt($handle, CURLOPT_CAINFO, $file);
    }
    if (getenv('PROTOCOL') !== 'http2') {
        curl_setopt($handle, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    }
    if ($body !== '-') {
        // Says that it is a form, unless the headers have another type.
        curl_setopt($handle, CURLOPT_POSTFIELDS, base64_decode($body));
    }
}

function report(CurlHandle $handle, int $error, string $fields, string $received): void
{
    if ($error) {
        say('ERROR', "curl_errno $error " . (curl_error($handle) ?: curl_strerror($error)));
    } else {
        say((string) curl_getinfo($handle, CURLINFO_RESPONSE_CODE), $fields, $received);
    }
}

function say(string $first, string ...$texts): void
{
    [$text, $body] = $texts + ['', null];
    $line = "$first\t" . base64_encode($text);
    if ($body !== null) {
        $line .= "\t" . ($body === '' ? '-' : base64_encode($body));
    }
    fwrite(STDOUT, "$line\n");
}

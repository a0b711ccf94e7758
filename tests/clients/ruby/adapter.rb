# Ruby's Net::HTTP with started connections, which stay open for the next request.
#
# Nothing is lost: only `response.value` raises, and nobody calls it. A body that is cut off looks like a whole one: only its
# Content-Length tells. It has no base URL and no tokens of its own. It trusts SSL_CERT_FILE, which the test sets. It speaks
# HTTP/1.1 only. A connection is for one thread: requests at once take one each.

require "base64"
require "net/http"

CONNECTIONS = Hash.new { |all, place| all[place] = Queue.new }
LOCK = Mutex.new

# Lends a connection that no other thread uses.
def connection(uri)
  place = [uri.host, uri.port, uri.scheme]
  free = LOCK.synchronize { CONNECTIONS[place] }
  http = begin
    free.pop(true)
  rescue ThreadError
    Net::HTTP.start(uri.host, uri.port, use_ssl: uri.scheme == "https")
  end
  begin
    yield http
  ensure
    free << http
  end
end

def answer(method, url, headers, body)
  raise "no pager" if method == "WALK"

  uri = URI(url)
  request = Net::HTTP.const_get(method.capitalize).new(uri)
  request["Authorization"] = "Bearer #{ENV["TOKEN"]}" if ENV["TOKEN"]
  fields = Base64.decode64(headers).force_encoding("UTF-8").lines(chomp: true).map { |line| line.split(": ", 2) }
  # Those that are given replace the library's own.
  fields.each { |name, _| request.delete(name) }
  fields.each { |name, value| request.add_field(name, value) }
  # It says that a body is a form, unless the headers have another type, even if it is empty.
  request.body = Base64.decode64(body) unless body == "-"
  response = connection(uri) { |http| http.request(request) }
  lines = response.to_hash.flat_map { |name, values| values.map { |value| "#{name}: #{value}\n" } }.join
  received = response.body.to_s
  [response.code, Base64.strict_encode64(lines), received.empty? ? "-" : Base64.strict_encode64(received)]
rescue StandardError => error
  ["ERROR", Base64.strict_encode64(error.message == "no pager" ? "no pager" : "#{error.class} #{error.message}")]
end

$stdout.sync = true
while (line = $stdin.gets)
  times, *request = line.chomp.split("\t", -1)
  threads = Array.new(times.to_i) { Thread.new { answer(*request) } }
  threads.each { |thread| $stdout.write(thread.value.join("\t"), "\n") }
end

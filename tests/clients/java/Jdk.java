// java.net.http.HttpClient of the JDK.
//
// Nothing is lost: it throws nothing on 4xx and 5xx. In clear, it offers `Upgrade: h2c` and goes on with HTTP/1.1; over TLS,
// ALPN finds HTTP/2. It has no base URL and no tokens of its own. It refuses some headers, such as `Host` and `Expect`.

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;

final class Jdk {
    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        Job.run(request -> {
            var body = request.body() == null ? BodyPublishers.noBody() : BodyPublishers.ofByteArray(request.body());
            var builder = HttpRequest.newBuilder(URI.create(request.url()))
                .method(request.method(), body)
                .timeout(Duration.ofSeconds(Job.PATIENCE));
            for (var header : request.headers()) {
                builder.header(header.name(), header.value());
            }
            var answer = client.send(builder.build(), BodyHandlers.ofByteArray());
            // With HTTP/2, it has `:status` among the headers.
            var headers = answer.headers().map().entrySet().stream()
                .filter(field -> !field.getKey().startsWith(":"))
                .flatMap(field -> field.getValue().stream().map(value -> new Job.Header(field.getKey(), value)));
            return new Job.Answer(answer.statusCode(), headers.toList(), answer.body());
        });
    }
}

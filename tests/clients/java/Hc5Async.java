// Apache HttpClient 5, the asynchronous one, which speaks HTTP/2: in clear by prior knowledge, over TLS by ALPN.
//
// Nothing is lost: it throws nothing on 4xx and 5xx. It has no base URL and no tokens of its own. Exceptions come inside an
// ExecutionException.

import java.net.URI;
import java.util.Arrays;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.apache.hc.client5.http.async.methods.SimpleHttpRequest;
import org.apache.hc.client5.http.config.RequestConfig;
import org.apache.hc.client5.http.impl.async.HttpAsyncClients;

final class Hc5Async {
    public static void main(String[] arguments) throws Exception {
        var client = HttpAsyncClients.createHttp2Default();
        client.start();
        var config = RequestConfig.custom().setResponseTimeout(Job.PATIENCE, TimeUnit.SECONDS).build();
        Job.run(request -> {
            var call = SimpleHttpRequest.create(request.method(), URI.create(request.url()));
            call.setConfig(config);
            for (var header : request.headers()) {
                call.addHeader(header.name(), header.value());
            }
            if (request.body() != null) {
                call.setBody(request.body(), null);
            }
            try {
                var answer = client.execute(call, null).get();
                var headers = Arrays.stream(answer.getHeaders())
                    .map(header -> new Job.Header(header.getName(), header.getValue()));
                return new Job.Answer(answer.getCode(), headers.toList(), answer.getBodyBytes());
            } catch (ExecutionException error) {
                throw (Exception) error.getCause();
            }
        });
    }
}

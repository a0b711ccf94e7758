// Apache HttpClient 5, the classic one, which speaks HTTP/1.1 only.
//
// Nothing is lost: it throws nothing on 4xx and 5xx. It has no base URL and no tokens of its own. Its pool has 5 connections
// for a host: more requests at once wait.

import java.net.URI;
import java.util.Arrays;
import java.util.concurrent.TimeUnit;
import org.apache.hc.client5.http.classic.methods.HttpUriRequestBase;
import org.apache.hc.client5.http.config.RequestConfig;
import org.apache.hc.client5.http.impl.classic.HttpClients;
import org.apache.hc.core5.http.io.entity.ByteArrayEntity;
import org.apache.hc.core5.http.io.entity.EntityUtils;

final class Hc5 {
    public static void main(String[] arguments) throws Exception {
        var client = HttpClients.createDefault();
        var config = RequestConfig.custom().setResponseTimeout(Job.PATIENCE, TimeUnit.SECONDS).build();
        Job.run(request -> {
            var call = new HttpUriRequestBase(request.method(), URI.create(request.url()));
            call.setConfig(config);
            for (var header : request.headers()) {
                call.addHeader(header.name(), header.value());
            }
            if (request.body() != null) {
                call.setEntity(new ByteArrayEntity(request.body(), null));
            }
            return client.execute(call, answer -> {
                var body = answer.getEntity() == null ? null : EntityUtils.toByteArray(answer.getEntity());
                var headers = Arrays.stream(answer.getHeaders())
                    .map(header -> new Job.Header(header.getName(), header.getValue()));
                return new Job.Answer(answer.getCode(), headers.toList(), body);
            });
        });
    }
}

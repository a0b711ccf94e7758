// OkHttp 3 of Debian.
//
// It throws nothing on 4xx and 5xx. Lost over HTTP/2: an answer that comes before the whole body is sent, and is followed by
// a reset without an error (`StreamResetException`). It has no base URL and no tokens of its own. In clear it speaks HTTP/2
// only if told so. `enqueue` would send 5 requests to a host at once; `execute`, which is used here, has no bound. A PUT, a
// POST and a PATCH must have a body, if an empty one; a GET cannot have any. It takes a status such as 103 for the answer.

import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import okhttp3.OkHttpClient;
import okhttp3.Protocol;
import okhttp3.Request;
import okhttp3.RequestBody;

final class OkHttp {
    public static void main(String[] arguments) throws Exception {
        var builder = new OkHttpClient.Builder().readTimeout(Job.PATIENCE, TimeUnit.SECONDS);
        boolean isTls = System.getenv("BASE").startsWith("https:");
        if (!"http2".equals(System.getenv("PROTOCOL"))) {
            builder.protocols(List.of(Protocol.HTTP_1_1));
        } else if (!isTls) {
            builder.protocols(List.of(Protocol.H2_PRIOR_KNOWLEDGE));
        }
        OkHttpClient client = builder.build();
        Job.run(request -> {
            byte[] bytes = request.body();
            if (bytes == null && List.of("PUT", "POST", "PATCH").contains(request.method())) {
                bytes = new byte[0];
            }
            var body = bytes == null ? null : RequestBody.create(null, bytes);
            var call = new Request.Builder().url(request.url()).method(request.method(), body);
            for (var header : request.headers()) {
                call.addHeader(header.name(), header.value());
            }
            try (var answer = client.newCall(call.build()).execute()) {
                var headers = answer.headers();
                var fields = IntStream.range(0, headers.size())
                    .mapToObj(number -> new Job.Header(headers.name(number), headers.value(number)));
                // Over HTTP/2, it takes the Content-Length of a HEAD for that of a body.
                var received = request.method().equals("HEAD") ? null : answer.body().bytes();
                return new Job.Answer(answer.code(), fields.toList(), received);
            }
        });
    }
}

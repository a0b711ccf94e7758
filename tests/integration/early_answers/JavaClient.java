// java.net.http.HttpClient. Arguments and output are those of tries.py.

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

public class JavaClient {
    /** How long a request may take. It is reached only when a test fails. */
    private static final Duration PATIENCE = Duration.ofSeconds(20);

    private record Call(String name, HttpRequest request, int status, String code) {
        static Call read(String base, String text) {
            String[] lines = text.split("\n");
            String[] words = lines[0].split(" ");
            int size = Integer.parseInt(words[2]);
            byte[] body = new byte[size];
            Arrays.fill(body, (byte) 'x');
            var publisher = size == 0
                ? HttpRequest.BodyPublishers.noBody()
                : HttpRequest.BodyPublishers.ofByteArray(body);
            var builder = HttpRequest.newBuilder(URI.create(base + words[1]))
                .method(words[0], publisher)
                .timeout(PATIENCE);
            for (int number = 1; number < lines.length; number++) {
                String[] field = lines[number].split(": ", 2);
                builder.header(field[0], field[1]);
            }
            String name = words[3] + " " + words[4] + ", " + size + " bytes";
            return new Call(name, builder.build(), Integer.parseInt(words[3]), words[4]);
        }

        /** Sends the request and says what is wrong with its answer, or that none came. */
        Optional<String> fault(HttpClient client) throws InterruptedException {
            try {
                var answer = client.send(request, BodyHandlers.ofString());
                if (answer.statusCode() != status) {
                    return Optional.of("status " + answer.statusCode());
                }
                // The JDK has no reader of JSON. That the body is whole shows in its last brace.
                String text = answer.body().strip();
                boolean fits = code.equals("-") || text.contains("\"code\":\"" + code + "\"");
                return fits && text.startsWith("{") && text.endsWith("}") ? Optional.empty() : Optional.of(text);
            } catch (java.io.IOException error) {
                return Optional.of(error.toString());
            }
        }
    }

    public static void main(String[] arguments) throws InterruptedException {
        HttpClient client = HttpClient.newHttpClient();
        int tries = Integer.parseInt(arguments[1]);
        List<Call> calls = Arrays.stream(arguments).skip(2).map(text -> Call.read(arguments[0], text)).toList();
        Call passing = calls.get(0);
        List<String> all = new ArrayList<>();
        for (Call refused : calls.subList(1, calls.size())) {
            List<String> lost = new ArrayList<>();
            List<String> broken = new ArrayList<>();
            for (int number = 0; number < tries; number++) {
                refused.fault(client).ifPresent(lost::add);
                passing.fault(client).ifPresent(broken::add);
            }
            int right = tries - lost.size();
            all.add(quoted(refused.name) + ": {\"right\": " + right
                + ", \"lost\": " + quoted(lost) + ", \"broken\": " + quoted(broken) + "}");
        }
        System.out.println("{" + String.join(", ", all) + "}");
    }

    private static String quoted(List<String> texts) {
        return "[" + String.join(", ", texts.stream().map(JavaClient::quoted).toList()) + "]";
    }

    private static String quoted(String text) {
        return "\"" + text.replaceAll("[\\p{Cntrl}]", " ").replace("\\", "\\\\").replace("\"", "\\\"") + "\"";
    }
}

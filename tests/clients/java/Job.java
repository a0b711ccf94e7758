// What the clients in Java share: reads the lines of the test, sends each request, prints the answers.
// Requests at once are threads, which share the client.

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Locale;

final class Job {
    /** How long a request may take. It is reached only when a test fails. */
    static final int PATIENCE = 60;

    record Header(String name, String value) {}

    /** A request with the token among its headers. Its body is null if there is none. */
    record Request(String method, String url, List<Header> headers, byte[] body) {
        static Request read(String[] fields) {
            List<Header> headers = new ArrayList<>();
            for (String line : new String(decode(fields[3]), StandardCharsets.UTF_8).split("\n")) {
                String[] field = line.split(": ", 2);
                if (field.length == 2) {
                    headers.add(new Header(field[0], field[1]));
                }
            }
            String token = System.getenv("TOKEN");
            if (token != null && headers.stream().noneMatch(header -> header.name.equalsIgnoreCase("Authorization"))) {
                headers.add(new Header("Authorization", "Bearer " + token));
            }
            return new Request(fields[1], fields[2], headers, fields[4].equals("-") ? null : decode(fields[4]));
        }
    }

    record Answer(int status, List<Header> headers, byte[] body) {
        String line() {
            StringBuilder lines = new StringBuilder();
            for (Header header : headers) {
                lines.append(header.name.toLowerCase(Locale.ROOT)).append(": ").append(header.value).append('\n');
            }
            boolean isEmpty = body == null || body.length == 0;
            return status + "\t" + encode(lines.toString().getBytes(StandardCharsets.UTF_8))
                + "\t" + (isEmpty ? "-" : encode(body));
        }
    }

    interface Client {
        Answer send(Request request) throws Exception;
    }

    static void run(Client client) throws IOException, InterruptedException {
        var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] fields = line.split("\t", -1);
            List<Thread> threads = new ArrayList<>();
            for (int number = 0; number < Integer.parseInt(fields[0]); number++) {
                Thread thread = new Thread(() -> print(answer(client, fields)));
                thread.setDaemon(true);
                thread.start();
                threads.add(thread);
            }
            for (Thread thread : threads) {
                // One that is never answered ends with this program.
                thread.join((PATIENCE + 5) * 1000L);
            }
        }
        // The clients have threads of their own, which would go on for a while.
        System.exit(0);
    }

    private static String answer(Client client, String[] fields) {
        if (fields[1].equals("WALK")) {
            return "ERROR\t" + encode("no pager".getBytes(StandardCharsets.UTF_8));
        }
        try {
            return client.send(Request.read(fields)).line();
        } catch (Throwable error) {
            String text = error.getClass().getName() + " " + error.getMessage();
            return "ERROR\t" + encode(text.getBytes(StandardCharsets.UTF_8));
        }
    }

    private static synchronized void print(String line) {
        System.out.println(line);
        System.out.flush();
    }

    private static String encode(byte[] bytes) {
        return Base64.getEncoder().encodeToString(bytes);
    }

    private static byte[] decode(String text) {
        return Base64.getDecoder().decode(text);
    }
}

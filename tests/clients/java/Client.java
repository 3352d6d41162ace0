import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/** Java's own client at its default settings, which offer HTTP/2 with every request. Prints one status a line. */
public class Client {
    public static void main(String[] arguments) throws Exception {
        var client = HttpClient.newHttpClient();
        var embed = URI.create(arguments[0] + "/embed");
        var body = "{\"text\":\"a barn\"}";
        var sized = HttpRequest.newBuilder(embed).header("Content-Type", "application/json")
            .POST(BodyPublishers.ofString(body)).build();
        var chunked = HttpRequest.newBuilder(embed).header("Content-Type", "application/json")
            .POST(BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(body.getBytes()))).build();
        var get = HttpRequest.newBuilder(URI.create(arguments[0] + "/healthz")).build();
        var large = HttpRequest.newBuilder(URI.create(arguments[0] + "/embed/batch"))
            .header("Content-Type", "application/json")
            .POST(BodyPublishers.ofString("{\"items\":[" + String.join(",",
                IntStream.range(0, 200).mapToObj(n -> "{\"text\":\"place " + n + " with a view\"}").toList()) + "]}"))
            .build();
        for (var request : List.of(sized, chunked, get, sized, large)) {
            var answer = client.send(request, BodyHandlers.ofString());
            System.out.println(answer.statusCode() + " " + answer.version());
        }
        var waiting = new ArrayList<java.util.concurrent.CompletableFuture<Integer>>();
        for (int n = 0; n < 20; n++) {
            waiting.add(client.sendAsync(n % 2 == 0 ? sized : chunked, BodyHandlers.ofString()).thenApply(a -> a.statusCode()));
        }
        for (var one : waiting) System.out.println(one.get());
    }
}

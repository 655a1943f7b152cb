import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;

/** Java's own HTTP client, as it is made by default: with its first request it offers to go on in HTTP/2.  ROOT, KEY, MODEL. */
class Asks {
    public static void main(String[] arguments) throws Exception {
        var client = HttpClient.newHttpClient();
        var body = "{\"model\":\"%s\",\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}".formatted(System.getenv("MODEL"));
        var request = HttpRequest.newBuilder(URI.create(System.getenv("ROOT") + "/v1/chat/completions"))
            .header("authorization", "Bearer " + System.getenv("KEY"))
            .header("content-type", "application/json");
        for (var publisher : new HttpRequest.BodyPublisher[] {
            BodyPublishers.ofString(body),
            // Of unknown length, and so in chunks.
            BodyPublishers.fromPublisher(BodyPublishers.ofString(body)),
        }) {
            var answer = client.send(request.POST(publisher).build(), BodyHandlers.ofString());
            System.out.println(answer.statusCode() + " " + answer.version() + " " + answer.body().contains("\"chat.completion\""));
        }
    }
}

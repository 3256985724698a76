// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

import com.sun.net.httpserver.HttpServer;
import java.net.*;
import java.net.http.*;
import java.util.concurrent.Executors;

public class Server {
    public static void main(String[] args) throws Exception {
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
        server.createContext("/", x -> {
            byte[] body = ("path " + x.getRequestURI() + " " + x.getRequestBody().readAllBytes().length).getBytes();
            x.sendResponseHeaders(200, body.length);
            x.getResponseBody().write(body);
            x.close();
        });
        var pool = Executors.newFixedThreadPool(2);
        server.setExecutor(pool);
        server.start();
        String url = "http://127.0.0.1:" + server.getAddress().getPort();
        HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        for (String path : new String[] {"/a", "/b?c"})
            System.out.println(client.send(HttpRequest.newBuilder(URI.create(url + path)).build(), HttpResponse.BodyHandlers.ofString()).body());
        System.out.println(client.send(HttpRequest.newBuilder(URI.create(url)).POST(HttpRequest.BodyPublishers.ofString("x".repeat(100000))).build(), HttpResponse.BodyHandlers.ofString()).body());
        server.stop(0);
        pool.shutdown();
        try {
            new Socket("127.0.0.1", server.getAddress().getPort()).close();
        } catch (ConnectException e) {
            System.out.println("refused");
        }
        System.exit(0);
    }
}

const http = require("http");

const server = http.createServer((request, response) => {
  response.end("Hello from Node\n");
});

server.listen(process.env.PORT, () => console.log(`Listening on port ${process.env.PORT}`));

process.on("SIGTERM", () => {
  console.log("Goodbye");
  server.close(() => process.exit(0));
});

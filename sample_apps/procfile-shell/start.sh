# Any program that listens on $PORT is an app.
mkdir -p site
echo "Hello from a shell script, written at $(date)" > site/index.html
echo "Serving on port $PORT"
exec python3 -m http.server "$PORT" --directory site

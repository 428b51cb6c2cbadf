// One call of the HTTP API: URL, token, JSON, problem documents, deadline. Knows no resource; the game server's SDK
// endpoint, which speaks the same way, is called through it too.

using System;
using System.Collections.Generic;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using Muster.Json;
using Muster.Net;

namespace Muster
{
    internal sealed class ApiCaller
    {
        // Longest answer, in bytes.
        internal const int MaxAnswerBytes = 1024 * 1024;
        private const int MaxQuoteChars = 200;

        private readonly Uri _base;
        private readonly string _namespace;

        internal ApiCaller(IPlatform platform, string url, string token, string gameNamespace)
        {
            Platform = platform;
            if (!Uri.TryCreate((url ?? string.Empty).Trim().TrimEnd('/') + "/", UriKind.Absolute, out _base) ||
                _base.Scheme != "http" && _base.Scheme != "https" || _base.Host.Length == 0)
                throw new MusterException(MusterCodes.InvalidArgument,
                    $"The URL \"{url}\" cannot be used. Give it as http://host:port or https://host:port.");
            Token = CheckToken(token);
            _namespace = gameNamespace;
        }

        internal IPlatform Platform { get; }

        internal string Token { get; }

        internal Uri Url(string path, string query = null)
        {
            var parts = new List<string>();
            if (!string.IsNullOrEmpty(query)) parts.Add(query);
            if (!string.IsNullOrEmpty(_namespace)) parts.Add("namespace=" + Uri.EscapeDataString(_namespace));
            return new Uri(_base, path + (parts.Count == 0 ? string.Empty : "?" + string.Join("&", parts.ToArray())));
        }

        // The same place as a WebSocket.
        internal Uri SocketUrl(string path, string query = null)
        {
            var url = new UriBuilder(Url(path, query));
            url.Scheme = url.Scheme == "https" ? "wss" : "ws";
            return url.Uri;
        }

        internal async Task<JsonValue> Call(
            string method, string path, string query, JsonValue body, string token, Deadline deadline,
            CancellationToken cancel)
        {
            var call = new HttpCall(method, Url(path, query))
            {
                Token = token ?? Token,
                Body = body == null ? null : Encoding.UTF8.GetBytes(body.ToString()),
            };
            var answer = await deadline.Run(
                call.Words, stop => Platform.Http.SendAsync(call, MaxAnswerBytes, stop), cancel);
            return Read(call.Words, answer.Status, answer.Body);
        }

        // The answer's JSON; an object without members for an empty one.
        internal static JsonValue Read(string words, int status, byte[] body)
        {
            string text;
            JsonValue json;
            try
            {
                text = new UTF8Encoding(false, true).GetString(body);
            }
            catch (ArgumentException)
            {
                throw NetFailures.BadAnswer(words, "it is not UTF-8");
            }
            var isGood = status >= 200 && status < 300;
            if (isGood && text.Length == 0) return JsonValue.NewObject();
            try
            {
                json = JsonValue.Parse(text);
            }
            catch (FormatException error)
            {
                var why = isGood ? error.Message : $"HTTP status {status} without a problem document";
                throw NetFailures.BadAnswer(words, $"{why}: {Quote(text)}", error);
            }
            if (isGood && json.Kind == JsonKind.Object) return json;
            throw (isGood ? null : MusterException.OfProblem(json, status)) ?? NetFailures.BadAnswer(
                words, isGood ? $"it is no object: {Quote(text)}"
                    : $"HTTP status {status} without a problem document: {Quote(text)}");
        }

        // What an orchestrator, or something else, said instead of opening a WebSocket.
        internal static MusterException Refused(string words, WebSocketRefusedException refused)
        {
            try
            {
                Read(words, refused.Status, Encoding.UTF8.GetBytes(refused.Body));
            }
            catch (MusterException error)
            {
                return error;
            }
            return NetFailures.BadAnswer(words, $"HTTP status {refused.Status} instead of a WebSocket");
        }

        internal static string Escape(string segment) => Uri.EscapeDataString(segment);

        private static string Quote(string text) =>
            "\"" + (text.Length > MaxQuoteChars ? text.Substring(0, MaxQuoteChars) + "…" : text) + "\"";

        private static string CheckToken(string token)
        {
            if (token == null) return null;
            token = token.Trim();
            foreach (var c in token)
                if (c <= ' ' || c > '~')
                    throw new MusterException(MusterCodes.InvalidArgument,
                        "The API token has characters that no token has. Give it as `muster token create` printed it.");
            return token.Length == 0 ? null : token;
        }
    }
}

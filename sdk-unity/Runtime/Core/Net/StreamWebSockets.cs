// WebSockets over sockets of our own: the handshake is here, frames are the class library's.
//
// Not ClientWebSocket: on Mono and in Unity it does not ask the certificate callback, so no CA of one's own could be
// trusted, and of a refused handshake it does not tell the answer's body, which says why.

using System;
using System.Collections.Generic;
using System.IO;
using System.Net.WebSockets;
using System.Security.Cryptography;
using System.Text;
using System.Threading;
using System.Threading.Tasks;

namespace Muster.Net
{
    internal sealed class StreamWebSockets : IWebSockets
    {
        private const int MaxHeadBytes = 16 * 1024;
        private const int MaxRefusalBytes = 16 * 1024;
        private const string AcceptGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

        private readonly IPlatform _platform;

        internal StreamWebSockets(IPlatform platform)
        {
            _platform = platform;
        }

        public bool CanSendToken => true;

        public async Task<IWebSocket> ConnectAsync(Uri url, string token, int maxMessageBytes, CancellationToken cancel)
        {
            var what = $"WebSocket to {url.GetLeftPart(UriPartial.Path)}";
            Stream stream = await Dial.Tcp(url.DnsSafeHost, url.Port, cancel);
            try
            {
                if (url.Scheme == "wss") stream = await _platform.SecureAsync(stream, url.DnsSafeHost, cancel);
                // Not every stream listens to a token; closed, each ends.
                using (cancel.Register(stream.Dispose)) await Shake(stream, url, token, what, cancel);
                var socket = WebSocket.CreateClientWebSocket(
                    stream, null, 16 * 1024, 16 * 1024, Timeout.InfiniteTimeSpan, false,
                    WebSocket.CreateClientBuffer(16 * 1024, 16 * 1024));
                return new StreamWebSocket(socket, stream, maxMessageBytes, what);
            }
            catch (Exception error)
            {
                stream.Dispose();
                cancel.ThrowIfCancellationRequested();
                if (error is MusterException || error is WebSocketRefusedException) throw;
                throw NetFailures.Explain(what, error, null);
            }
        }

        private static async Task Shake(Stream stream, Uri url, string token, string what, CancellationToken cancel)
        {
            var random = new byte[16];
            using (var source = RandomNumberGenerator.Create()) source.GetBytes(random);
            var key = Convert.ToBase64String(random);
            var head = new StringBuilder();
            head.Append("GET ").Append(url.PathAndQuery).Append(" HTTP/1.1\r\nHost: ").Append(url.Authority)
                .Append("\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ")
                .Append(key).Append("\r\n");
            if (token != null) head.Append("Authorization: Bearer ").Append(token).Append("\r\n");
            var request = Encoding.ASCII.GetBytes(head.Append("\r\n").ToString());
            await stream.WriteAsync(request, 0, request.Length, cancel);
            await stream.FlushAsync(cancel);
            var lines = await ReadHead(stream, what, cancel);
            var status = Status(lines[0], what);
            string accept = null, length = null, value;
            foreach (var line in lines)
            {
                if (Header(line, "sec-websocket-accept", out value)) accept = value;
                if (Header(line, "content-length", out value)) length = value;
            }
            if (status != 101)
                throw new WebSocketRefusedException(status, await ReadRefusal(stream, length, cancel));
            using (var sha = SHA1.Create())
            {
                var expected = Convert.ToBase64String(sha.ComputeHash(Encoding.ASCII.GetBytes(key + AcceptGuid)));
                if (accept != expected) throw NetFailures.BadAnswer(what, "its handshake does not fit the request's");
            }
        }

        // Byte by byte, since what follows the head is the WebSocket's.
        private static async Task<List<string>> ReadHead(Stream stream, string what, CancellationToken cancel)
        {
            var head = new StringBuilder();
            var one = new byte[1];
            while (head.Length < 4 || head.ToString(head.Length - 4, 4) != "\r\n\r\n")
            {
                if (head.Length == MaxHeadBytes)
                    throw NetFailures.BadAnswer(what, $"its head is longer than {MaxHeadBytes} bytes");
                if (await stream.ReadAsync(one, 0, 1, cancel) == 0)
                    throw NetFailures.Lost(what, "it was closed during the handshake", null);
                head.Append((char)one[0]);
                if (head.Length == 5 && head.ToString() != "HTTP/") throw NetFailures.BadAnswer(what, "it is no HTTP");
            }
            return new List<string>(head.ToString().Split(new[] { "\r\n" }, StringSplitOptions.RemoveEmptyEntries));
        }

        private static int Status(string line, string what)
        {
            var parts = line.Split(' ');
            if (parts.Length < 2 || !int.TryParse(parts[1], out var status))
                throw NetFailures.BadAnswer(what, "it is no HTTP");
            return status;
        }

        private static bool Header(string line, string name, out string value)
        {
            var colon = line.IndexOf(':');
            value = colon < 0 ? null : line.Substring(colon + 1).Trim();
            return colon >= 0 && line.Substring(0, colon).Equals(name, StringComparison.OrdinalIgnoreCase);
        }

        private static async Task<string> ReadRefusal(Stream stream, string length, CancellationToken cancel)
        {
            int left;
            if (!int.TryParse(length, out left) || left <= 0) return string.Empty;
            var body = new byte[Math.Min(left, MaxRefusalBytes)];
            var have = 0;
            while (have < body.Length)
            {
                var count = await stream.ReadAsync(body, have, body.Length - have, cancel);
                if (count == 0) break;
                have += count;
            }
            return Encoding.UTF8.GetString(body, 0, have);
        }
    }

    internal sealed class StreamWebSocket : IWebSocket
    {
        private const int CloseTimeoutMs = 1000;

        private readonly WebSocket _socket;
        private readonly Stream _stream;
        private readonly int _maxMessageBytes;
        private readonly string _what;
        private readonly byte[] _buffer = new byte[16 * 1024];

        internal StreamWebSocket(WebSocket socket, Stream stream, int maxMessageBytes, string what)
        {
            _socket = socket;
            _stream = stream;
            _maxMessageBytes = maxMessageBytes;
            _what = what;
        }

        public async Task SendAsync(ArraySegment<byte> message, bool isText, CancellationToken cancel)
        {
            try
            {
                var type = isText ? WebSocketMessageType.Text : WebSocketMessageType.Binary;
                await _socket.SendAsync(message, type, true, cancel);
            }
            catch (Exception error) when (!(error is OperationCanceledException))
            {
                throw Broken(error);
            }
        }

        public async Task<byte[]> ReceiveAsync(CancellationToken cancel)
        {
            try
            {
                var message = new MemoryStream();
                while (true)
                {
                    var part = await _socket.ReceiveAsync(new ArraySegment<byte>(_buffer), cancel);
                    if (part.MessageType == WebSocketMessageType.Close) return null;
                    if (message.Length + part.Count > _maxMessageBytes)
                        throw NetFailures.BadAnswer(_what, $"a message is longer than {_maxMessageBytes} bytes");
                    message.Write(_buffer, 0, part.Count);
                    if (part.EndOfMessage) return message.ToArray();
                }
            }
            catch (Exception error) when (!(error is OperationCanceledException) && !(error is MusterException))
            {
                throw Broken(error);
            }
        }

        public async Task CloseAsync(CancellationToken cancel)
        {
            using (var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel))
            {
                stop.CancelAfter(CloseTimeoutMs);
                try
                {
                    await _socket.CloseOutputAsync(WebSocketCloseStatus.NormalClosure, string.Empty, stop.Token);
                }
                catch (Exception)
                {
                    // It is being closed; that it was broken already changes nothing.
                }
            }
        }

        public void Dispose()
        {
            _socket.Dispose();
            _stream.Dispose();
        }

        private MusterException Broken(Exception error) => NetFailures.Explain(_what, error, null);
    }
}

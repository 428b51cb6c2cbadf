// One connection to a game server's port through an edge, over each transport, proven. A link lives as long as its
// socket; that a session outlives it is GameSession's doing.

using System;
using System.IO;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;
using Muster.Net;
using Muster.Wire;

namespace Muster
{
    // A proven connection. One sender and one receiver at a time.
    internal interface ILink : IDisposable
    {
        Transport Transport { get; }

        Task SendAsync(ArraySegment<byte> message, CancellationToken cancel);

        // The next message.
        // Throws MusterException once the connection is gone.
        Task<byte[]> ReceiveAsync(CancellationToken cancel);
    }

    internal static class Links
    {
        internal static Task<ILink> Open(
            IPlatform platform, Endpoint endpoint, ConnectOptions options, Deadline deadline, CancellationToken cancel)
        {
            switch (endpoint.Transport)
            {
                case Transport.Udp: return UdpLink.Open(platform, endpoint, options, deadline, cancel);
                case Transport.Tcp: return TcpLink.Open(platform, endpoint, deadline, cancel);
                default: return WebSocketLink.Open(platform, endpoint, options, deadline, cancel);
            }
        }

        internal static string Name(Endpoint endpoint) =>
            $"{endpoint.Protocol} to {endpoint.Host}:{endpoint.Port} ({endpoint.PortName})";
    }

    internal sealed class TcpLink : ILink
    {
        private const int MaxMessageBytes = ushort.MaxValue;

        private readonly Stream _stream;
        private readonly string _what;
        private readonly byte[] _length = new byte[2];

        private TcpLink(Stream stream, string what)
        {
            _stream = stream;
            _what = what;
        }

        public Transport Transport => Transport.Tcp;

        internal static async Task<ILink> Open(
            IPlatform platform, Endpoint endpoint, Deadline deadline, CancellationToken cancel)
        {
            var what = Links.Name(endpoint);
            return await deadline.Run<ILink>(what, async stop =>
            {
                Stream stream = await Dial.Tcp(endpoint.Host, endpoint.Port, stop);
                try
                {
                    if (endpoint.Tls) stream = await platform.SecureAsync(stream, endpoint.Host, stop);
                    var link = new TcpLink(stream, what);
                    using (stop.Register(stream.Dispose))
                        if (endpoint.Token != null) await link.Prove(endpoint.Token);
                    return link;
                }
                catch
                {
                    stream.Dispose();
                    throw;
                }
            }, cancel);
        }

        private async Task Prove(string token)
        {
            await Write(Preface.EncodeTcp(token));
            var answer = new byte[Preface.AcceptedBytes + 1];
            await Read(answer, Preface.AcceptedBytes);
            var said = Preface.Decode(answer, Preface.AcceptedBytes);
            if (said == PrefaceAnswer.None)
            {
                var rest = new byte[1];
                await Read(rest, 1);
                answer[Preface.AcceptedBytes] = rest[0];
                said = Preface.Decode(answer, answer.Length);
            }
            if (said == PrefaceAnswer.None) throw NetFailures.BadAnswer(_what, "it is no answer of an edge's");
            if (said != PrefaceAnswer.Accepted) throw Preface.Refusal(said);
        }

        public Task SendAsync(ArraySegment<byte> message, CancellationToken cancel)
        {
            if (message.Count > MaxMessageBytes)
                throw new MusterException(MusterCodes.InvalidArgument,
                    $"A message over TCP has at most {MaxMessageBytes} bytes, this one {message.Count}.");
            var framed = new byte[message.Count + 2];
            framed[0] = (byte)(message.Count >> 8);
            framed[1] = (byte)message.Count;
            Buffer.BlockCopy(message.Array ?? new byte[0], message.Offset, framed, 2, message.Count);
            return Write(framed);
        }

        public async Task<byte[]> ReceiveAsync(CancellationToken cancel)
        {
            await Read(_length, 2);
            var message = new byte[_length[0] << 8 | _length[1]];
            await Read(message, message.Length);
            return message;
        }

        public void Dispose() => _stream.Dispose();

        private async Task Write(byte[] bytes)
        {
            try
            {
                await _stream.WriteAsync(bytes, 0, bytes.Length);
            }
            catch (Exception error) when (!(error is OperationCanceledException))
            {
                throw NetFailures.Lost(_what, error.Message, error);
            }
        }

        private async Task Read(byte[] bytes, int count)
        {
            var have = 0;
            try
            {
                while (have < count)
                {
                    var more = await _stream.ReadAsync(bytes, have, count - have);
                    if (more == 0) throw new EndOfStreamException("it was closed");
                    have += more;
                }
            }
            catch (Exception error) when (!(error is OperationCanceledException))
            {
                throw NetFailures.Lost(_what, error.Message, error);
            }
        }
    }

    internal sealed class WebSocketLink : ILink
    {
        private readonly IWebSocket _socket;
        private readonly bool _isText;
        private readonly string _what;

        private WebSocketLink(IWebSocket socket, bool isText, string what)
        {
            _socket = socket;
            _isText = isText;
            _what = what;
        }

        public Transport Transport => Transport.WebSocket;

        internal static async Task<ILink> Open(
            IPlatform platform, Endpoint endpoint, ConnectOptions options, Deadline deadline, CancellationToken cancel)
        {
            var what = Links.Name(endpoint);
            Uri url;
            if (!Uri.TryCreate(endpoint.Url, UriKind.Absolute, out url) || url.Scheme != "ws" && url.Scheme != "wss")
                throw NetFailures.BadAnswer("the assignment", "a WebSocket endpoint has no URL");
            try
            {
                var socket = await deadline.Run(what, stop =>
                    platform.WebSockets.ConnectAsync(url, null, options.MaxMessageBytes, stop), cancel);
                return new WebSocketLink(socket, options.SendsText, what);
            }
            catch (WebSocketRefusedException refused)
            {
                switch (refused.Status)
                {
                    // The edge does not say by the status whether it knows the token or finds it too old.
                    case 401: throw Preface.Refusal(PrefaceAnswer.Untrusted);
                    case 403: throw Preface.Refusal(PrefaceAnswer.WrongPort);
                    case 503: throw Preface.Refusal(PrefaceAnswer.Unavailable);
                    default: throw NetFailures.BadAnswer(what, $"HTTP status {refused.Status} instead of a WebSocket");
                }
            }
        }

        public Task SendAsync(ArraySegment<byte> message, CancellationToken cancel) =>
            _socket.SendAsync(message, _isText, cancel);

        public async Task<byte[]> ReceiveAsync(CancellationToken cancel) =>
            await _socket.ReceiveAsync(cancel) ?? throw NetFailures.Lost(_what, "it was closed", null);

        internal Task Goodbye() => _socket.CloseAsync(CancellationToken.None);

        public void Dispose() => _socket.Dispose();
    }
}

// What the core needs of the platform it runs on, as interfaces: a browser has no sockets, no threads and no timers.
// The core itself knows no engine; NetPlatform is what .NET and Unity's desktop, mobile and server builds have.

using System;
using System.Collections.Generic;
using System.Threading;
using System.Threading.Tasks;

namespace Muster.Net
{
    /// <summary>A request.</summary>
    public sealed class HttpCall
    {
        /// <summary>A request of <paramref name="method"/> to <paramref name="url"/>.</summary>
        public HttpCall(string method, Uri url)
        {
            Method = method;
            Url = url;
        }

        /// <summary><c>GET</c>, <c>POST</c>, …</summary>
        public string Method { get; }

        /// <summary>Where it goes.</summary>
        public Uri Url { get; }

        /// <summary>Bearer token; <c>null</c>: none.</summary>
        public string Token { get; set; }

        /// <summary>Body, which is JSON; <c>null</c>: none.</summary>
        public byte[] Body { get; set; }

        /// <summary>The request in words, without what is secret.</summary>
        public string Words => $"{Method} {Url.GetLeftPart(UriPartial.Path)}";
    }

    /// <summary>An answer.</summary>
    public sealed class HttpAnswer
    {
        /// <summary>An answer.</summary>
        public HttpAnswer(int status, byte[] body)
        {
            Status = status;
            Body = body;
        }

        /// <summary>HTTP status.</summary>
        public int Status { get; }

        /// <summary>The whole body.</summary>
        public byte[] Body { get; }
    }

    /// <summary>Sends HTTP requests.</summary>
    public interface IHttp
    {
        /// <summary>Sends a request, and reads the answer, whatever its status.</summary>
        /// <param name="call">The request.</param>
        /// <param name="maxAnswerBytes">A longer answer is a <see cref="MusterException"/> of code <c>bad_answer</c>.</param>
        /// <param name="cancel">Ends the waiting.</param>
        /// <exception cref="MusterException">No whole answer came.</exception>
        Task<HttpAnswer> SendAsync(HttpCall call, int maxAnswerBytes, CancellationToken cancel);
    }

    /// <summary>A WebSocket that stands.</summary>
    public interface IWebSocket : IDisposable
    {
        /// <summary>Sends one message. One at a time.</summary>
        Task SendAsync(ArraySegment<byte> message, bool isText, CancellationToken cancel);

        /// <summary>The next message; <c>null</c> once the other side has closed. One at a time.</summary>
        /// <exception cref="MusterException">The connection broke, or a message was too large.</exception>
        Task<byte[]> ReceiveAsync(CancellationToken cancel);

        /// <summary>Says goodbye. Does not wait for the other side to say so, too.</summary>
        Task CloseAsync(CancellationToken cancel);
    }

    /// <summary>Makes WebSockets.</summary>
    public interface IWebSockets
    {
        /// <summary>Whether a request can carry a bearer token as a header. Browsers cannot.</summary>
        bool CanSendToken { get; }

        /// <summary>Connects.</summary>
        /// <param name="url"><c>ws:</c> or <c>wss:</c>.</param>
        /// <param name="token">Bearer token; <c>null</c>: none.</param>
        /// <param name="maxMessageBytes">Largest message that is taken.</param>
        /// <param name="cancel">Ends the waiting.</param>
        /// <exception cref="WebSocketRefusedException">Something answered, and not with a WebSocket.</exception>
        /// <exception cref="MusterException">No connection came about.</exception>
        Task<IWebSocket> ConnectAsync(Uri url, string token, int maxMessageBytes, CancellationToken cancel);
    }

    /// <summary>A WebSocket was asked for, and another HTTP answer came.</summary>
    public sealed class WebSocketRefusedException : Exception
    {
        /// <summary>The answer's status and body.</summary>
        public WebSocketRefusedException(int status, string body)
            : base($"the WebSocket was refused with HTTP status {status}")
        {
            Status = status;
            Body = body;
        }

        /// <summary>HTTP status.</summary>
        public int Status { get; }

        /// <summary>The beginning of the answer's body.</summary>
        public string Body { get; }
    }

    /// <summary>What the SDK runs on.</summary>
    public interface IPlatform
    {
        /// <summary>HTTP.</summary>
        IHttp Http { get; }

        /// <summary>WebSockets.</summary>
        IWebSockets WebSockets { get; }

        /// <summary>Whether there are UDP and TCP sockets.</summary>
        bool HasSockets { get; }

        /// <summary>TLS over a stream that stands, for TCP ports; not called where there are no sockets.</summary>
        Task<System.IO.Stream> SecureAsync(System.IO.Stream stream, string host, CancellationToken cancel);

        /// <summary>Milliseconds of a clock that only goes forward.</summary>
        long NowMs { get; }

        /// <summary>Ends after <paramref name="ms"/> milliseconds.</summary>
        Task Pause(int ms, CancellationToken cancel);
    }
}

// A browser as a platform: UnityWebRequest, the browser's own WebSocket, and the engine's clock. There are no threads and
// no timers, so that everything is looked at once a frame.

#if UNITY_WEBGL
using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Runtime.InteropServices;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using Muster.Net;
using UnityEngine;
using UnityEngine.Networking;

namespace Muster.Unity
{
    internal sealed class WebPlatform : IPlatform, IHttp, IWebSockets
    {
        internal static readonly WebPlatform Instance = new WebPlatform();

        private readonly Stopwatch _clock = Stopwatch.StartNew();

        public IHttp Http => this;
        public IWebSockets WebSockets => this;
        public bool HasSockets => false;
        public bool CanSendToken => false;
        public long NowMs => _clock.ElapsedMilliseconds;

        public async Task Pause(int ms, CancellationToken cancel)
        {
            var until = NowMs + ms;
            while (NowMs < until)
            {
                cancel.ThrowIfCancellationRequested();
                // On to the next frame.
                await Task.Yield();
            }
        }

        public Task<Stream> SecureAsync(Stream stream, string host, CancellationToken cancel) =>
            throw new MusterException(MusterCodes.Unsupported, "A browser has no sockets of its own. Use a port of protocol ws.");

        public async Task<HttpAnswer> SendAsync(HttpCall call, int maxAnswerBytes, CancellationToken cancel)
        {
            using (var request = new UnityWebRequest(call.Url.AbsoluteUri, call.Method))
            {
                request.downloadHandler = new DownloadHandlerBuffer();
                if (call.Token != null) request.SetRequestHeader("Authorization", "Bearer " + call.Token);
                if (call.Body != null)
                {
                    request.uploadHandler = new UploadHandlerRaw(call.Body);
                    request.SetRequestHeader("Content-Type", "application/json");
                }
                var sending = request.SendWebRequest();
                while (!sending.isDone)
                {
                    if (cancel.IsCancellationRequested || request.downloadedBytes > (ulong)maxAnswerBytes) request.Abort();
                    cancel.ThrowIfCancellationRequested();
                    await Task.Yield();
                }
                // A browser does not tell why: no such host, a certificate, and CORS all look alike.
                if (request.responseCode == 0)
                    throw new MusterException(MusterCodes.Unreachable,
                        $"{call.Words}: the browser got no answer ({request.error}). Check that the orchestrator runs, that its " +
                        "certificate is one that browsers trust, and that it is asked from an allowed origin; the browser's " +
                        "console says more.");
                var body = request.downloadHandler.data ?? new byte[0];
                if (body.Length > maxAnswerBytes)
                    throw new MusterException(MusterCodes.BadAnswer, $"{call.Words}: the answer is too long.");
                return new HttpAnswer((int)request.responseCode, body);
            }
        }

        public async Task<IWebSocket> ConnectAsync(Uri url, string token, int maxMessageBytes, CancellationToken cancel)
        {
            var socket = new BrowserSocket(url, maxMessageBytes);
            try
            {
                await socket.Open(cancel);
                return socket;
            }
            catch
            {
                socket.Dispose();
                throw;
            }
        }
    }

    internal sealed class BrowserSocket : IWebSocket
    {
        private const int Connecting = 0;
        private const int Connected = 1;

        private readonly int _handle;
        private readonly int _maxMessageBytes;
        private readonly string _what;

        internal BrowserSocket(Uri url, int maxMessageBytes)
        {
            _what = "WebSocket to " + url.GetLeftPart(UriPartial.Path);
            _maxMessageBytes = maxMessageBytes;
            _handle = MusterSocketOpen(url.AbsoluteUri);
        }

        internal async Task Open(CancellationToken cancel)
        {
            while (MusterSocketState(_handle) == Connecting)
            {
                cancel.ThrowIfCancellationRequested();
                await Task.Yield();
            }
            if (MusterSocketState(_handle) != Connected)
                throw new MusterException(MusterCodes.Unreachable,
                    $"{_what}: the browser could not connect. The token may have expired, or the edge be down; the browser's " +
                    "console says more.");
        }

        public Task SendAsync(ArraySegment<byte> message, bool isText, CancellationToken cancel)
        {
            var bytes = new byte[message.Count];
            Buffer.BlockCopy(message.Array ?? bytes, message.Offset, bytes, 0, bytes.Length);
            if (MusterSocketSend(_handle, bytes, bytes.Length, isText ? 1 : 0) == 0) throw Gone();
            return Task.CompletedTask;
        }

        public async Task<byte[]> ReceiveAsync(CancellationToken cancel)
        {
            while (true)
            {
                var length = MusterSocketNext(_handle);
                if (length >= 0)
                {
                    var message = new byte[length];
                    MusterSocketTake(_handle, message, length);
                    if (length > _maxMessageBytes)
                        throw new MusterException(MusterCodes.BadAnswer, $"{_what}: a message is too long.");
                    return message;
                }
                if (MusterSocketState(_handle) != Connected) return null;
                cancel.ThrowIfCancellationRequested();
                await Task.Yield();
            }
        }

        public Task CloseAsync(CancellationToken cancel)
        {
            MusterSocketClose(_handle);
            return Task.CompletedTask;
        }

        public void Dispose() => MusterSocketClose(_handle);

        private MusterException Gone() =>
            new MusterException(MusterCodes.ConnectionLost, $"{_what}: the connection ended too early.");

        [DllImport("__Internal")]
        private static extern int MusterSocketOpen(string url);

        [DllImport("__Internal")]
        private static extern int MusterSocketState(int handle);

        [DllImport("__Internal")]
        private static extern int MusterSocketSend(int handle, byte[] bytes, int length, int isText);

        [DllImport("__Internal")]
        private static extern int MusterSocketNext(int handle);

        [DllImport("__Internal")]
        private static extern void MusterSocketTake(int handle, byte[] bytes, int length);

        [DllImport("__Internal")]
        private static extern void MusterSocketClose(int handle);
    }
}
#endif

// The platform that .NET and Unity's desktop, mobile and server builds are: HttpClient, sockets, timers.

using System;
using System.Diagnostics;
using System.IO;
using System.Net;
using System.Net.Http;
using System.Net.Http.Headers;
using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using System.Threading;
using System.Threading.Tasks;
using Muster.Tls;

namespace Muster.Net
{
    /// <summary>HTTP, WebSockets and sockets of .NET's class library.</summary>
    public sealed class NetPlatform : IPlatform, IHttp, IDisposable
    {
        private const int ReadBytes = 16 * 1024;

        private readonly HttpClient _http;
        private readonly OwnAuthority _authority;
        private readonly Stopwatch _clock = Stopwatch.StartNew();
        // Why the last certificate was refused: the class library's own message hides what a callback found.
        private volatile string _refused;

        /// <summary>A platform.</summary>
        /// <param name="caPem">The CA to trust, PEM, and then the only one; <c>null</c>: those the system trusts.</param>
        /// <exception cref="MusterException">The CA is none.</exception>
        public NetPlatform(string caPem = null)
        {
            _authority = string.IsNullOrWhiteSpace(caPem) ? null : new OwnAuthority(caPem);
            var handler = new HttpClientHandler { AllowAutoRedirect = false, UseCookies = false };
            if (_authority != null)
                handler.ServerCertificateCustomValidationCallback =
                    (request, certificate, chain, errors) => Trusts(certificate, request.RequestUri.Host, errors);
            // Every call has a deadline of its own.
            _http = new HttpClient(handler) { Timeout = Timeout.InfiniteTimeSpan };
            WebSockets = new StreamWebSockets(this);
        }

        /// <inheritdoc/>
        public IHttp Http => this;

        /// <inheritdoc/>
        public IWebSockets WebSockets { get; }

        /// <inheritdoc/>
        public bool HasSockets => true;

        /// <inheritdoc/>
        public long NowMs => _clock.ElapsedMilliseconds;

        /// <inheritdoc/>
        public Task Pause(int ms, CancellationToken cancel) => Task.Delay(ms, cancel);

        /// <inheritdoc/>
        public void Dispose() => _http.Dispose();

        /// <inheritdoc/>
        public async Task<HttpAnswer> SendAsync(HttpCall call, int maxAnswerBytes, CancellationToken cancel)
        {
            try
            {
                using (var request = new HttpRequestMessage(new HttpMethod(call.Method), call.Url))
                {
                    if (call.Token != null)
                        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", call.Token);
                    if (call.Body != null)
                    {
                        request.Content = new ByteArrayContent(call.Body);
                        request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
                    }
                    using (var answer = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancel))
                        return new HttpAnswer(
                            (int)answer.StatusCode, await ReadBody(answer, call.Words, maxAnswerBytes, cancel));
                }
            }
            catch (Exception error) when (!(error is OperationCanceledException) && !(error is MusterException))
            {
                cancel.ThrowIfCancellationRequested();
                throw NetFailures.Explain(call.Words, error, _refused);
            }
        }

        private static async Task<byte[]> ReadBody(
            HttpResponseMessage answer, string words, int maxAnswerBytes, CancellationToken cancel)
        {
            if (answer.Content == null) return new byte[0];
            var announced = answer.Content.Headers.ContentLength;
            using (var stream = await answer.Content.ReadAsStreamAsync())
            using (var body = new MemoryStream())
            {
                var buffer = new byte[ReadBytes];
                while (true)
                {
                    var count = await stream.ReadAsync(buffer, 0, buffer.Length, cancel);
                    if (count == 0) break;
                    if (body.Length + count > maxAnswerBytes)
                        throw NetFailures.BadAnswer(words, $"it is longer than {maxAnswerBytes} bytes");
                    body.Write(buffer, 0, count);
                }
                // Mono takes a connection that ends early for the end of the body.
                if (announced.HasValue && body.Length < announced.Value)
                    throw NetFailures.Lost(words, $"{body.Length} of {announced.Value} bytes came", null);
                return body.ToArray();
            }
        }

        /// <inheritdoc/>
        public async Task<Stream> SecureAsync(Stream stream, string host, CancellationToken cancel)
        {
            var secure = new SslStream(stream, false,
                (sender, certificate, chain, errors) => Trusts(certificate, host, errors));
            try
            {
                using (cancel.Register(stream.Dispose))
                    await secure.AuthenticateAsClientAsync(host, null, SslProtocols.Tls12, false);
                return secure;
            }
            catch (Exception error)
            {
                secure.Dispose();
                cancel.ThrowIfCancellationRequested();
                throw NetFailures.Explain($"TLS with {host}", error, _refused);
            }
        }

        private bool Trusts(X509Certificate certificate, string host, SslPolicyErrors errors)
        {
            var refused = _authority != null ? _authority.Refuse(certificate, host, DateTime.UtcNow)
                : errors == SslPolicyErrors.None ? null
                : $"the system does not trust it ({errors})";
            _refused = refused;
            return refused == null;
        }
    }
}

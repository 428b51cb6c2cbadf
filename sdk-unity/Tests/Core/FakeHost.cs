// A server that says what a test wants, byte for byte: an orchestrator or an agent that misbehaves.

using System;
using System.Collections.Generic;
using System.IO;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using System.Threading.Tasks;

namespace Muster.Tests
{
    internal sealed class FakeHost : IDisposable
    {
        private readonly TcpListener _listener = new TcpListener(IPAddress.Loopback, 0);
        private readonly Func<FakeCall, Task> _answer;
        private readonly object _lock = new object();
        private readonly List<string> _calls = new List<string>();
        private volatile bool _isClosed;

        internal FakeHost(Func<FakeCall, Task> answer)
        {
            _answer = answer;
            _listener.Start();
            Accept();
        }

        internal int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

        internal string Url => "http://127.0.0.1:" + Port;

        // "POST /v1/tickets", in the order in which they came.
        internal List<string> Calls
        {
            get { lock (_lock) return new List<string>(_calls); }
        }

        public void Dispose()
        {
            _isClosed = true;
            _listener.Stop();
        }

        private async void Accept()
        {
            while (!_isClosed)
            {
                try
                {
                    Talk(await _listener.AcceptTcpClientAsync());
                }
                catch (Exception)
                {
                    // The listener was stopped.
                    return;
                }
            }
        }

        private async void Talk(TcpClient client)
        {
            using (client)
            {
                try
                {
                    while (true)
                    {
                        var call = await FakeCall.Read(client.GetStream());
                        if (call == null) return;
                        lock (_lock) _calls.Add(call.Method + " " + call.Path);
                        await _answer(call);
                        if (call.IsOver) return;
                    }
                }
                catch (Exception)
                {
                    // The client under test went away, as tests have it do.
                }
            }
        }
    }

    internal sealed class FakeCall
    {
        private readonly Stream _stream;

        private FakeCall(Stream stream)
        {
            _stream = stream;
        }

        internal string Method { get; private set; }
        internal string Path { get; private set; }
        internal string Query { get; private set; }
        internal string Body { get; private set; }
        internal Dictionary<string, string> Headers { get; } =
            new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
        // Whether the connection is to be closed after this.
        internal bool IsOver { get; set; }

        internal static async Task<FakeCall> Read(Stream stream)
        {
            var head = new StringBuilder();
            var one = new byte[1];
            while (!head.ToString().EndsWith("\r\n\r\n"))
            {
                if (await stream.ReadAsync(one, 0, 1) == 0) return null;
                head.Append((char)one[0]);
            }
            var call = new FakeCall(stream);
            var lines = head.ToString().Split(new[] { "\r\n" }, StringSplitOptions.RemoveEmptyEntries);
            var words = lines[0].Split(' ');
            call.Method = words[0];
            var mark = words[1].IndexOf('?');
            call.Path = mark < 0 ? words[1] : words[1].Substring(0, mark);
            call.Query = mark < 0 ? string.Empty : words[1].Substring(mark + 1);
            for (var i = 1; i < lines.Length; i++)
            {
                var colon = lines[i].IndexOf(':');
                call.Headers[lines[i].Substring(0, colon)] = lines[i].Substring(colon + 1).Trim();
            }
            string length;
            var body = new byte[call.Headers.TryGetValue("content-length", out length) ? int.Parse(length) : 0];
            for (var have = 0; have < body.Length;) have += await stream.ReadAsync(body, have, body.Length - have);
            call.Body = Encoding.UTF8.GetString(body);
            return call;
        }

        internal Task Say(int status, string body, string type = "application/json") => Raw(
            $"HTTP/1.1 {status} X\r\nContent-Type: {type}\r\nContent-Length: {Encoding.UTF8.GetByteCount(body)}\r\n\r\n{body}");

        internal Task Problem(int status, string code, string detail, string fix = "", int retry = -1) => Say(
            status,
            $"{{\"code\":\"{code}\",\"detail\":\"{detail}\",\"fix\":\"{fix}\"" +
            (retry < 0 ? "}" : ",\"retry_after_s\":" + retry + "}"), "application/problem+json");

        internal Task Raw(string text)
        {
            var bytes = Encoding.UTF8.GetBytes(text);
            return _stream.WriteAsync(bytes, 0, bytes.Length);
        }

        internal Task Upgrade()
        {
            using (var sha = SHA1.Create())
            {
                var key = Headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
                var accept = Convert.ToBase64String(sha.ComputeHash(Encoding.ASCII.GetBytes(key)));
                return Raw("HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
                           accept + "\r\n\r\n");
            }
        }

        // One text message, up to 64 KiB.
        internal Task Message(string text)
        {
            var payload = Encoding.UTF8.GetBytes(text);
            var frame = new MemoryStream();
            frame.WriteByte(0x81);
            if (payload.Length < 126) frame.WriteByte((byte)payload.Length);
            else
            {
                frame.WriteByte(126);
                frame.WriteByte((byte)(payload.Length >> 8));
                frame.WriteByte((byte)payload.Length);
            }
            frame.Write(payload, 0, payload.Length);
            var bytes = frame.ToArray();
            return _stream.WriteAsync(bytes, 0, bytes.Length);
        }

        // Until the client goes away.
        internal async Task Silence()
        {
            IsOver = true;
            var buffer = new byte[256];
            while (await _stream.ReadAsync(buffer, 0, buffer.Length) > 0)
            {
            }
        }
    }
}

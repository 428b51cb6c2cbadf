// What a session token says. Read, not verified: the client holds no key, and a server that has to know asks
// `GameServer.SeatConnectedAsync`, for which Muster's agent verifies it.

using System;
using System.Globalization;
using System.Text;
using Muster.Json;

namespace Muster.Wire
{
    /// <summary>The claims of a session token, as it states them. Nothing here proves that they are true.</summary>
    public sealed class SessionToken
    {
        private const string Header = "v4.public.";
        private const int SignatureBytes = 64;

        private SessionToken(JsonValue claims)
        {
            Namespace = claims["ns"].AsText();
            Server = claims["srv"].AsText();
            Port = claims["prt"].AsText();
            Seat = claims["seat"].AsText();
            Player = claims["sub"].AsText();
            ExpiresAtMs = Time(claims["exp"].AsText());
        }

        /// <summary>Namespace of the server.</summary>
        public string Namespace { get; }
        /// <summary>The server it opens.</summary>
        public string Server { get; }
        /// <summary>Name of the server's port.</summary>
        public string Port { get; }
        /// <summary>The seat it was sold for.</summary>
        public string Seat { get; }
        /// <summary>The player.</summary>
        public string Player { get; }
        /// <summary>When it stops being valid, Unix milliseconds by the orchestrator's clock.</summary>
        public long ExpiresAtMs { get; }

        /// <summary>Reads a token.</summary>
        /// <exception cref="MusterException">It is none: code <c>refused_malformed</c>.</exception>
        public static SessionToken Read(string token)
        {
            try
            {
                if (token == null || token.Length > Preface.MaxTokenBytes ||
                    !token.StartsWith(Header, StringComparison.Ordinal)) throw new FormatException("no such header");
                var parts = token.Substring(Header.Length).Split('.');
                if (parts.Length > 2) throw new FormatException("too many parts");
                var body = Base64Url(parts[0]);
                if (body.Length <= SignatureBytes) throw new FormatException("too short");
                var json = new UTF8Encoding(false, true).GetString(body, 0, body.Length - SignatureBytes);
                var read = new SessionToken(JsonValue.Parse(json));
                if (read.Server.Length == 0 || read.Seat.Length == 0) throw new FormatException("claims are missing");
                return read;
            }
            catch (Exception error) when (error is FormatException || error is ArgumentException)
            {
                throw new MusterException(MusterCodes.RefusedMalformed,
                    $"This is no session token ({error.Message}). Take it from the assignment, unchanged.", error);
            }
        }

        private static byte[] Base64Url(string text)
        {
            var base64 = text.Replace('-', '+').Replace('_', '/');
            return Convert.FromBase64String(base64.PadRight((base64.Length + 3) / 4 * 4, '='));
        }

        private static long Time(string rfc3339) => DateTimeOffset
            .Parse(rfc3339, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal).ToUnixTimeMilliseconds();
    }
}

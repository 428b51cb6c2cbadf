// The one exception of the SDK: a stable code for programs, a text for developers.

using System;
using Muster.Json;

namespace Muster
{
    /// <summary>
    /// Codes that come from the SDK itself. Beside them <see cref="MusterException.Code"/> may be any code of the API's
    /// problem documents, as <c>queue_unknown</c>, <c>lobby_full</c> or <c>too_many</c>.
    /// </summary>
    public static class MusterCodes
    {
        /// <summary>The SDK refuses what it was given, before anything is sent.</summary>
        public const string InvalidArgument = "invalid_argument";
        /// <summary>Nobody is there: refused, no route, no such host.</summary>
        public const string Unreachable = "unreachable";
        /// <summary>The deadline came before an answer.</summary>
        public const string Timeout = "timeout";
        /// <summary>The certificate is not trusted, of another name, or not valid by this machine's clock.</summary>
        public const string TlsUntrusted = "tls_untrusted";
        /// <summary>The connection ended in the middle of an answer or a session.</summary>
        public const string ConnectionLost = "connection_lost";
        /// <summary>An answer that Muster does not give.</summary>
        public const string BadAnswer = "bad_answer";
        /// <summary>The match cannot be served; the message has the reason.</summary>
        public const string MatchFailed = "match_failed";
        /// <summary>Nobody was found in time.</summary>
        public const string MatchExpired = "match_expired";
        /// <summary>The ticket was withdrawn, or its seats were given up.</summary>
        public const string MatchCancelled = "match_cancelled";
        /// <summary>The server has no port of that name or transport.</summary>
        public const string NoEndpoint = "no_endpoint";
        /// <summary>The edge says: no session token.</summary>
        public const string RefusedMalformed = "refused_malformed";
        /// <summary>The edge says: not signed by this installation.</summary>
        public const string RefusedUntrusted = "refused_untrusted";
        /// <summary>The edge says: expired.</summary>
        public const string RefusedExpired = "refused_expired";
        /// <summary>The edge says: for another server or port.</summary>
        public const string RefusedWrongPort = "refused_wrong_port";
        /// <summary>The edge says: not possible now.</summary>
        public const string RefusedUnavailable = "refused_unavailable";
        /// <summary>A server's call outside of Muster.</summary>
        public const string NotUnderMuster = "not_under_muster";
        /// <summary>What was called was closed before.</summary>
        public const string Closed = "closed";
        /// <summary>This platform has no such thing.</summary>
        public const string Unsupported = "unsupported";
    }

    /// <summary>
    /// What went wrong. Every call of the SDK ends in its result, in this exception, or, if its
    /// <see cref="System.Threading.CancellationToken"/> says so, in an <see cref="OperationCanceledException"/>.
    /// </summary>
    public sealed class MusterException : Exception
    {
        /// <summary>An exception of that code; the message says what happened and what to do.</summary>
        public MusterException(string code, string message, Exception inner = null)
            : base(message, inner)
        {
            Code = code;
        }

        /// <summary>Stable code; see <see cref="MusterCodes"/>.</summary>
        public string Code { get; }

        /// <summary>Seconds after which to try again, if that can help.</summary>
        public int? RetryAfterSeconds { get; private set; }

        /// <summary>HTTP status of the answer; 0 if there was none.</summary>
        public int Status { get; private set; }

        /// <summary>Whether the same call may succeed a little later.</summary>
        public bool IsTransient
        {
            get
            {
                if (RetryAfterSeconds.HasValue) return true;
                switch (Code)
                {
                    case MusterCodes.Unreachable:
                    case MusterCodes.Timeout:
                    case MusterCodes.ConnectionLost:
                    case MusterCodes.RefusedUnavailable:
                    case "no_capacity":
                    case "store_unavailable":
                    case "contention":
                    case "node_unreachable":
                        return true;
                    default:
                        return false;
                }
            }
        }

        /// <summary>The exception for a problem document (RFC 9457); <c>null</c> if <paramref name="document"/> is none.</summary>
        internal static MusterException OfProblem(JsonValue document, int status)
        {
            var code = document["code"].AsText();
            if (code.Length == 0) return null;
            var detail = document["detail"].AsText(document["title"].AsText(code));
            var fix = document["fix"].AsText();
            var text = fix.Length == 0 ? Sentence(detail) : $"{Sentence(detail)} {Sentence(fix)}";
            var exception = new MusterException(code, text) { Status = status };
            var retry = document["retry_after_s"];
            if (retry.Kind == JsonKind.Number) exception.RetryAfterSeconds = Math.Max(0, retry.AsInt());
            return exception;
        }

        /// <summary>Upper case at the front, a stop at the end.</summary>
        internal static string Sentence(string text)
        {
            text = text.Trim();
            if (text.Length == 0) return text;
            var first = char.IsLower(text[0]) ? char.ToUpperInvariant(text[0]) + text.Substring(1) : text;
            return ".!?".IndexOf(first[first.Length - 1]) >= 0 ? first : first + ".";
        }
    }
}

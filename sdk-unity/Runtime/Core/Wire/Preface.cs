// The preface and the claim: how a client proves its seat to the edge. Bytes in, values out; the golden vectors
// (protocol/vectors/preface.json) hold every format. Neither sockets nor tokens' contents are known here.

using System;
using System.Text;

namespace Muster.Wire
{
    /// <summary>What the edge says to a preface or a claim.</summary>
    public enum PrefaceAnswer
    {
        /// <summary>The bytes are no answer.</summary>
        None,
        /// <summary>The flow stands.</summary>
        Accepted,
        /// <summary>Not a session token at all.</summary>
        Malformed,
        /// <summary>Not signed by this installation.</summary>
        Untrusted,
        /// <summary>Its time is over; read the ticket again.</summary>
        Expired,
        /// <summary>For another server or port.</summary>
        WrongPort,
        /// <summary>Not possible now; try again.</summary>
        Unavailable,
    }

    /// <summary>Makes prefaces and claims, and reads the answers.</summary>
    public static class Preface
    {
        /// <summary>Longest session token, in bytes.</summary>
        public const int MaxTokenBytes = 1024;

        /// <summary>Pause after which an unanswered preface is sent again on UDP, in milliseconds.</summary>
        public const int AgainMs = 200;

        internal const int AcceptedBytes = 6;
        private const byte Version = 1;
        private const byte KindPreface = 1;
        private const byte KindAccepted = 2;
        private const byte KindRefused = 3;
        private const byte KindClaim = 4;

        /// <summary>The datagram that proves the seat for the socket it is sent from.</summary>
        /// <exception cref="MusterException">The token is none.</exception>
        public static byte[] Encode(string token) => Encode(KindPreface, token);

        /// <summary>The datagram that proves the seat for the next socket of this address that sends to the port.</summary>
        /// <exception cref="MusterException">The token is none.</exception>
        public static byte[] EncodeClaim(string token) => Encode(KindClaim, token);

        /// <summary>What a TCP connection begins with.</summary>
        /// <exception cref="MusterException">The token is none.</exception>
        public static byte[] EncodeTcp(string token)
        {
            var preface = Encode(token);
            var framed = new byte[preface.Length + 2];
            framed[0] = (byte)(preface.Length >> 8);
            framed[1] = (byte)preface.Length;
            Buffer.BlockCopy(preface, 0, framed, 2, preface.Length);
            return framed;
        }

        /// <summary>The answer that <paramref name="count"/> bytes are; <see cref="PrefaceAnswer.None"/> if they are none.</summary>
        public static PrefaceAnswer Decode(byte[] bytes, int count)
        {
            if (count < AcceptedBytes || !IsMagic(bytes) || bytes[4] != Version) return PrefaceAnswer.None;
            if (bytes[5] == KindAccepted) return count == AcceptedBytes ? PrefaceAnswer.Accepted : PrefaceAnswer.None;
            if (bytes[5] != KindRefused || count != AcceptedBytes + 1) return PrefaceAnswer.None;
            switch (bytes[6])
            {
                case 1: return PrefaceAnswer.Malformed;
                case 2: return PrefaceAnswer.Untrusted;
                case 3: return PrefaceAnswer.Expired;
                case 4: return PrefaceAnswer.WrongPort;
                case 5: return PrefaceAnswer.Unavailable;
                default: return PrefaceAnswer.None;
            }
        }

        /// <summary>The refusal as an exception.</summary>
        public static MusterException Refusal(PrefaceAnswer answer)
        {
            switch (answer)
            {
                case PrefaceAnswer.Malformed:
                    return new MusterException(MusterCodes.RefusedMalformed,
                        "The edge takes this for no session token. Pass the token of the assignment on unchanged.");
                case PrefaceAnswer.Untrusted:
                    return new MusterException(MusterCodes.RefusedUntrusted,
                        "The edge does not know who signed the session token. Ticket and edge must be of the same installation.");
                case PrefaceAnswer.Expired:
                    return new MusterException(MusterCodes.RefusedExpired,
                        "The session token has expired. Read the ticket again: each reading has a new token.");
                case PrefaceAnswer.WrongPort:
                    return new MusterException(MusterCodes.RefusedWrongPort,
                        "The session token is for another server or port. Use the token of the very endpoint that is connected to.");
                default:
                    return new MusterException(MusterCodes.RefusedUnavailable,
                        "The edge cannot take the connection now: it does not reach the server's node, or is full. Try again.");
            }
        }

        private static byte[] Encode(byte kind, string token)
        {
            var text = Encoding.UTF8.GetBytes(token ?? string.Empty);
            if (text.Length == 0 || text.Length > MaxTokenBytes)
                throw new MusterException(MusterCodes.InvalidArgument,
                    $"A session token has 1 to {MaxTokenBytes} bytes, this one {text.Length}. Take it from the assignment.");
            var bytes = new byte[AcceptedBytes + text.Length];
            bytes[0] = (byte)'M';
            bytes[1] = (byte)'S';
            bytes[2] = (byte)'T';
            bytes[3] = (byte)'R';
            bytes[4] = Version;
            bytes[5] = kind;
            Buffer.BlockCopy(text, 0, bytes, AcceptedBytes, text.Length);
            return bytes;
        }

        private static bool IsMagic(byte[] bytes) =>
            bytes[0] == 'M' && bytes[1] == 'S' && bytes[2] == 'T' && bytes[3] == 'R';
    }
}

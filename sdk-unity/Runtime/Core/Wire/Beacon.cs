// The latency beacon: a UDP echo on every edge. Bytes only; who sends and waits is Client/Latencies.cs.

using System;

namespace Muster.Wire
{
    /// <summary>Makes the beacon's requests and reads its answers.</summary>
    public static class Beacon
    {
        private const int HeaderBytes = 5;
        private const byte Request = 1;
        private const byte Answer = 2;

        /// <summary>A request with that nonce, of 4 to 59 bytes.</summary>
        public static byte[] Encode(byte[] nonce)
        {
            var bytes = new byte[HeaderBytes + nonce.Length];
            bytes[0] = (byte)'M';
            bytes[1] = (byte)'S';
            bytes[2] = (byte)'T';
            bytes[3] = (byte)'B';
            bytes[4] = Request;
            Buffer.BlockCopy(nonce, 0, bytes, HeaderBytes, nonce.Length);
            return bytes;
        }

        /// <summary>The nonce that <paramref name="count"/> bytes answer; <c>null</c> if they are no answer.</summary>
        public static byte[] Decode(byte[] bytes, int count)
        {
            if (count < HeaderBytes || bytes[0] != 'M' || bytes[1] != 'S' || bytes[2] != 'T' || bytes[3] != 'B' ||
                bytes[4] != Answer) return null;
            var nonce = new byte[count - HeaderBytes];
            Buffer.BlockCopy(bytes, HeaderBytes, nonce, 0, nonce.Length);
            return nonce;
        }
    }
}

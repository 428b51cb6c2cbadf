// Verifies ECDSA signatures on the curve P-256 with SHA-256, which is what Muster's own CA signs with.
//
// Own code, because Mono's and Unity's class libraries have no ECDSA of their own and cannot build a chain to a CA that
// the system does not know. It only ever verifies, so it holds no secret that its timing could tell. Known-answer
// vectors of NIST and a certificate of Muster's are in the tests.

using System;
using System.Numerics;
using System.Security.Cryptography;

namespace Muster.Tls
{
    internal static class P256
    {
        private const int Bytes = 32;

        private static readonly BigInteger P = Hex("ffffffff00000001000000000000000000000000ffffffffffffffffffffffff");
        private static readonly BigInteger N = Hex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
        private static readonly BigInteger B = Hex("5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b");
        private static readonly BigInteger Gx = Hex("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296");
        private static readonly BigInteger Gy = Hex("4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5");

        // Whether `signature` (DER, r and s) is one of `message` by the key `point` (0x04, x, y).
        internal static bool Verify(byte[] point, byte[] message, byte[] signature)
        {
            if (point.Length != 1 + 2 * Bytes || point[0] != 4) return false;
            BigInteger x = Number(point, 1, Bytes), y = Number(point, 1 + Bytes, Bytes);
            if (x >= P || y >= P || Mod(y * y - (x * x * x - 3 * x + B), P) != 0) return false;
            var sequence = Der.Whole(signature).Expect(Der.Sequence);
            var first = sequence.First().Expect(Der.Integer);
            var second = sequence.After(first).Expect(Der.Integer);
            BigInteger r = Number(first.Content()), s = Number(second.Content());
            if (r < 1 || r >= N || s < 1 || s >= N) return false;
            BigInteger e;
            using (var sha = SHA256.Create()) e = Number(sha.ComputeHash(message));
            var w = BigInteger.ModPow(s, N - 2, N);
            var sum = Add(
                Multiply(new Point(Gx, Gy, 1), Mod(e * w, N)), Multiply(new Point(x, y, 1), Mod(r * w, N)));
            if (sum.Z.IsZero) return false;
            var inverse = BigInteger.ModPow(sum.Z, P - 2, P);
            return Mod(Mod(sum.X * inverse * inverse, P), N) == r;
        }

        // Jacobian coordinates: x = X/Z², y = Y/Z³; Z = 0 is the point at infinity.
        private readonly struct Point
        {
            internal readonly BigInteger X, Y, Z;

            internal Point(BigInteger x, BigInteger y, BigInteger z)
            {
                X = x;
                Y = y;
                Z = z;
            }
        }

        private static Point Multiply(Point point, BigInteger factor)
        {
            var sum = new Point(1, 1, 0);
            var bits = factor.ToByteArray();
            for (var i = bits.Length * 8 - 1; i >= 0; i--)
            {
                sum = Double(sum);
                if ((bits[i / 8] >> (i % 8) & 1) != 0) sum = Add(sum, point);
            }
            return sum;
        }

        private static Point Double(Point a)
        {
            if (a.Z.IsZero || a.Y.IsZero) return new Point(1, 1, 0);
            var yy = Mod(a.Y * a.Y, P);
            var s = Mod(4 * a.X * yy, P);
            var zz = Mod(a.Z * a.Z, P);
            var m = Mod(3 * (a.X - zz) * (a.X + zz), P);
            var x = Mod(m * m - 2 * s, P);
            var y = Mod(m * (s - x) - 8 * yy * yy, P);
            return new Point(x, y, Mod(2 * a.Y * a.Z, P));
        }

        private static Point Add(Point a, Point b)
        {
            if (a.Z.IsZero) return b;
            if (b.Z.IsZero) return a;
            BigInteger za = Mod(a.Z * a.Z, P), zb = Mod(b.Z * b.Z, P);
            BigInteger ua = Mod(a.X * zb, P), ub = Mod(b.X * za, P);
            BigInteger sa = Mod(a.Y * zb * b.Z, P), sb = Mod(b.Y * za * a.Z, P);
            if (ua == ub) return sa == sb ? Double(a) : new Point(1, 1, 0);
            BigInteger h = Mod(ub - ua, P), r = Mod(sb - sa, P);
            var hh = Mod(h * h, P);
            var hhh = Mod(h * hh, P);
            var v = Mod(ua * hh, P);
            var x = Mod(r * r - hhh - 2 * v, P);
            var y = Mod(r * (v - x) - sa * hhh, P);
            return new Point(x, y, Mod(h * a.Z * b.Z, P));
        }

        private static BigInteger Mod(BigInteger value, BigInteger modulus)
        {
            var rest = BigInteger.Remainder(value, modulus);
            return rest.Sign < 0 ? rest + modulus : rest;
        }

        private static BigInteger Number(byte[] bytes) => Number(bytes, 0, bytes.Length);

        // Big-endian, and not negative.
        private static BigInteger Number(byte[] bytes, int from, int count)
        {
            var little = new byte[count + 1];
            for (var i = 0; i < count; i++) little[i] = bytes[from + count - 1 - i];
            return new BigInteger(little);
        }

        private static BigInteger Hex(string hex)
        {
            var bytes = new byte[hex.Length / 2];
            for (var i = 0; i < bytes.Length; i++) bytes[i] = Convert.ToByte(hex.Substring(2 * i, 2), 16);
            return Number(bytes);
        }
    }
}

// Trust in a CA of one's own: signatures by published vectors, certificates by a CA made for these tests.

using System;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Muster.Tls;
using NUnit.Framework;

namespace Muster.Tests
{
    public class TlsTests
    {
        private const string Ca = @"-----BEGIN CERTIFICATE-----
MIIBfDCCASGgAwIBAgIUIXoHCS/3gq9HbKF7bA3FiniFHLYwCgYIKoZIzj0EAwIw
EjEQMA4GA1UEAwwHVGVzdCBDQTAgFw0yNjExMjgxNjQ2NTRaGA8yMTI2MTEwNDE2
NDY1NFowEjEQMA4GA1UEAwwHVGVzdCBDQTBZMBMGByqGSM49AgEGCCqGSM49AwEH
A0IABCkm0s/5wiJcQUF5ZhMoS/RQdUGvxleulA1cM9Ibk8lKvjJectV3jB+dXn6S
maGlLv6cKoPPuGPnr+QKTdgyYjujUzBRMB0GA1UdDgQWBBQfzA2UPTE6A8WU1hkU
mmbSbEdPIDAfBgNVHSMEGDAWgBQfzA2UPTE6A8WU1hkUmmbSbEdPIDAPBgNVHRMB
Af8EBTADAQH/MAoGCCqGSM49BAMCA0kAMEYCIQCn1H/IXvF0KXLPHKNRMRaG+sub
QjJ4yJDjhvCZJosufwIhAIEFIp4mCrbaXSRdS7/pTSswpz+fy+fnhzn23sZUzzbC
-----END CERTIFICATE-----";

        // For edge.example.com, *.eu.example.com, 127.0.0.1 and ::1, valid from 2026 on for a hundred years.
        private const string Leaf = @"-----BEGIN CERTIFICATE-----
MIIBuzCCAWGgAwIBAgIUPJLmeZsnS078DpahXFMOyblv6+AwCgYIKoZIzj0EAwIw
EjEQMA4GA1UEAwwHVGVzdCBDQTAgFw0yNjExMjgxNjQ2NTVaGA8yMTI2MTEwNDE2
NDY1NVowDzENMAsGA1UEAwwEZWRnZTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IA
BIOqlfhUUwv55AXETwA5vZHbpsVKYka7qi1mqbKSPZre+f/SjrHon8Fa6txxrWS/
sNcQBcXDo6nqe60QEp0NBV2jgZUwgZIwRQYDVR0RBD4wPIIQZWRnZS5leGFtcGxl
LmNvbYIQKi5ldS5leGFtcGxlLmNvbYcEfwAAAYcQAAAAAAAAAAAAAAAAAAAAATAJ
BgNVHRMEAjAAMB0GA1UdDgQWBBSqY9T/bwB0EzlCtR0KFskBlR7VlzAfBgNVHSME
GDAWgBQfzA2UPTE6A8WU1hkUmmbSbEdPIDAKBggqhkjOPQQDAgNIADBFAiAH9S0f
T+oiZxoaMJoerA7ADbsQUS/RmeF1c+iwC/92/AIhAIbCcxzMffUtIuUs98ZPBn35
IXHX22uslf742fVIecAE
-----END CERTIFICATE-----";

        private static readonly DateTime Now = new DateTime(2027, 1, 1, 0, 0, 0, DateTimeKind.Utc);

        // RFC 6979, A.2.5: P-256 with SHA-256.
        private const string Key =
            "0460FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6" +
            "7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299";

        [TestCase("sample", "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716",
            "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8")]
        [TestCase("test", "F1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367",
            "019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083")]
        public void PublishedSignaturesHoldAndNoOthers(string message, string r, string s)
        {
            var text = Encoding.ASCII.GetBytes(message);
            var signature = Signature(r, s);
            Assert.IsTrue(P256.Verify(Hex(Key), text, signature));
            Assert.IsFalse(P256.Verify(Hex(Key), Encoding.ASCII.GetBytes(message + "."), signature));
            Assert.IsFalse(P256.Verify(Hex(Key), text, Signature(s, r)));
            Assert.IsFalse(P256.Verify(Hex(Key), text, Signature("00", s)));
            Assert.IsFalse(P256.Verify(Hex(Key), text, Signature(new string('F', 64), s)));
            var offCurve = Hex(Key);
            offCurve[64] ^= 1;
            Assert.IsFalse(P256.Verify(offCurve, text, signature));
        }

        [TestCase("edge.example.com")]
        [TestCase("EDGE.example.com")]
        [TestCase("a.eu.example.com")]
        [TestCase("127.0.0.1")]
        [TestCase("::1")]
        [TestCase("[::1]")]
        public void WhatTheCaSignedIsTrustedForItsNames(string host)
        {
            Assert.IsNull(new OwnAuthority(Ca).Refuse(Certificate(Leaf), host, Now));
        }

        [TestCase("other.example.com")]
        [TestCase("eu.example.com")]
        [TestCase("a.b.eu.example.com")]
        [TestCase("127.0.0.2")]
        public void AndForNoOthers(string host)
        {
            StringAssert.Contains(host, new OwnAuthority(Ca).Refuse(Certificate(Leaf), host, Now));
        }

        [Test]
        public void AClockThatIsOffIsNamed()
        {
            var why = new OwnAuthority(Ca).Refuse(Certificate(Leaf), "127.0.0.1", new DateTime(2020, 1, 1));
            StringAssert.Contains("clock", why);
            StringAssert.Contains("clock", new OwnAuthority(Ca).Refuse(Certificate(Leaf), "::1", Now.AddYears(200)));
        }

        [Test]
        public void ACertificateThatIsNoCaSignsNothing()
        {
            // The leaf is trusted as itself, as it stands in the file.
            Assert.IsNull(new OwnAuthority(Leaf).Refuse(Certificate(Leaf), "127.0.0.1", Now));
            StringAssert.Contains("signed", new OwnAuthority(Flipped(Ca)).Refuse(Certificate(Leaf), "127.0.0.1", Now));
            StringAssert.Contains("127.0.0.1", new OwnAuthority(Leaf).Refuse(Certificate(Ca), "127.0.0.1", Now));
        }

        [TestCase("")]
        [TestCase("no certificate")]
        [TestCase("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----")]
        [TestCase("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----")]
        [TestCase("-----BEGIN CERTIFICATE-----\n")]
        public void WhatIsNoCaIsRefused(string pem)
        {
            var error = Assert.Throws<MusterException>(() => new OwnAuthority(pem));
            Assert.AreEqual(MusterCodes.InvalidArgument, error.Code);
        }

        [Test]
        public void AnyBytesEndInAValueOrARefusal()
        {
            var good = Certificate(Leaf).GetRawCertData();
            var random = new Random(1);
            for (var round = 0; round < 2000; round++)
            {
                var bad = (byte[])good.Clone();
                for (var i = random.Next(1, 4); i > 0; i--) bad[random.Next(bad.Length)] = (byte)random.Next(256);
                var pem = "-----BEGIN CERTIFICATE-----" + Convert.ToBase64String(bad) + "-----END CERTIFICATE-----";
                try
                {
                    new OwnAuthority(pem);
                }
                catch (MusterException error)
                {
                    Assert.AreEqual(MusterCodes.InvalidArgument, error.Code);
                }
            }
        }

        // The CA with another key: its last bit is not the one that signed.
        private static string Flipped(string pem)
        {
            var der = Certificate(pem).GetRawCertData();
            for (var i = 0; i + 3 < der.Length; i++)
                if (der[i] == 0x03 && der[i + 1] == 0x42 && der[i + 2] == 0 && der[i + 3] == 4)
                {
                    der[i + 20] ^= 1;
                    break;
                }
            return "-----BEGIN CERTIFICATE-----" + Convert.ToBase64String(der) + "-----END CERTIFICATE-----";
        }

        private static X509Certificate Certificate(string pem) => new X509Certificate(Convert.FromBase64String(
            pem.Replace("-----BEGIN CERTIFICATE-----", string.Empty).Replace("-----END CERTIFICATE-----", string.Empty)));

        private static byte[] Signature(string r, string s)
        {
            byte[] first = Hex("00" + r), second = Hex("00" + s);
            var der = new byte[6 + first.Length + second.Length];
            der[0] = 0x30;
            der[1] = (byte)(der.Length - 2);
            der[2] = der[4 + first.Length] = 2;
            der[3] = (byte)first.Length;
            der[5 + first.Length] = (byte)second.Length;
            first.CopyTo(der, 4);
            second.CopyTo(der, 6 + first.Length);
            return der;
        }

        private static byte[] Hex(string hex)
        {
            var bytes = new byte[hex.Length / 2];
            for (var i = 0; i < bytes.Length; i++) bytes[i] = Convert.ToByte(hex.Substring(2 * i, 2), 16);
            return bytes;
        }
    }
}

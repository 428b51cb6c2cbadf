// Whether a server's certificate is signed by a CA of one's own, such as Muster's, for the host that was dialled.
//
// Only where a CA was given; without one the platform's judgement holds. A certificate passes if it stands in the file
// itself, or if a CA of the file signed it directly (ECDSA on P-256 with SHA-256, as Muster signs), it is valid now, and
// it names the host. Longer chains are not followed.

using System;
using System.Collections.Generic;
using System.Net;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace Muster.Tls
{
    internal sealed class OwnAuthority
    {
        private const string Begin = "-----BEGIN CERTIFICATE-----";
        private const string End = "-----END CERTIFICATE-----";
        private const int MaxCertificates = 64;

        private readonly List<Certificate> _trusted = new List<Certificate>();

        // Reads PEM.
        internal OwnAuthority(string pem)
        {
            var at = 0;
            while ((at = pem.IndexOf(Begin, at, StringComparison.Ordinal)) >= 0)
            {
                at += Begin.Length;
                var end = pem.IndexOf(End, at, StringComparison.Ordinal);
                if (end < 0 || _trusted.Count == MaxCertificates) throw Wrong(null);
                try
                {
                    _trusted.Add(new Certificate(Convert.FromBase64String(pem.Substring(at, end - at))));
                }
                catch (FormatException error)
                {
                    throw Wrong(error);
                }
                at = end;
            }
            if (_trusted.Count == 0) throw Wrong(null);
        }

        // Why `certificate` is not trusted for `host` at `now` (UTC); `null` if it is.
        internal string Refuse(X509Certificate certificate, string host, DateTime now)
        {
            if (certificate == null) return "the server showed no certificate";
            try
            {
                var shown = new Certificate(certificate.GetRawCertData());
                if (now < shown.NotBefore || now > shown.NotAfter)
                    return $"it is valid from {shown.NotBefore:u} to {shown.NotAfter:u}, and this machine's clock shows {now:u}";
                if (!shown.Names(host)) return $"it is not for {host}";
                foreach (var trusted in _trusted)
                    if (trusted.Is(shown) || trusted.Signed(shown)) return null;
                return "none of the certificates given signed it";
            }
            catch (FormatException error)
            {
                return error.Message;
            }
        }

        private static MusterException Wrong(Exception inner) => new MusterException(
            MusterCodes.InvalidArgument,
            "The CA given is no PEM certificate. `curl http://<orchestrator>/v1/ca.pem` gives the right one.", inner);

        // The parts of a certificate that matter here.
        private sealed class Certificate
        {
            private static readonly byte[] EcdsaWithSha256 = { 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02 };
            private static readonly byte[] SubjectAlternativeName = { 0x55, 0x1D, 0x11 };
            private static readonly byte[] BasicConstraints = { 0x55, 0x1D, 0x13 };

            private readonly byte[] _all;
            private readonly byte[] _signed;
            private readonly byte[] _signature;
            private readonly bool _isEcdsa;
            private readonly byte[] _issuer;
            private readonly byte[] _subject;
            private readonly byte[] _key;
            private readonly List<string> _dnsNames = new List<string>();
            private readonly List<IPAddress> _addresses = new List<IPAddress>();
            private readonly bool _isAuthority;

            internal Certificate(byte[] der)
            {
                _all = der;
                var whole = Der.Whole(der).Expect(Der.Sequence);
                var body = whole.First().Expect(Der.Sequence);
                var algorithm = whole.After(body).Expect(Der.Sequence);
                _signed = body.Bytes();
                _isEcdsa = Equal(algorithm.First().Content(), EcdsaWithSha256);
                _signature = whole.After(algorithm).Bits();
                // Version, serial number, algorithm, issuer, validity, subject, key, extensions.
                var part = body.First();
                if (part.Tag == 0xA0) part = body.After(part);
                part = body.After(part);
                var issuer = body.After(part);
                var validity = body.After(issuer).Expect(Der.Sequence);
                var subject = body.After(validity);
                var key = body.After(subject).Expect(Der.Sequence);
                _issuer = issuer.Bytes();
                _subject = subject.Bytes();
                var notBefore = validity.First();
                NotBefore = Time(notBefore);
                NotAfter = Time(validity.After(notBefore));
                var keyAlgorithm = key.First();
                _key = key.After(keyAlgorithm).Bits();
                var last = key;
                while (body.Has(last))
                {
                    last = body.After(last);
                    if (last.Tag == 0xA3) _isAuthority = ReadExtensions(last.First().Expect(Der.Sequence));
                }
            }

            internal DateTime NotBefore { get; }

            internal DateTime NotAfter { get; }

            internal bool Is(Certificate other) => Equal(_all, other._all);

            internal bool Signed(Certificate other) =>
                _isAuthority && other._isEcdsa && Equal(_subject, other._issuer) &&
                P256.Verify(_key, other._signed, other._signature);

            internal bool Names(string host)
            {
                if (IPAddress.TryParse(host.Trim('[', ']'), out var address)) return _addresses.Contains(address);
                foreach (var name in _dnsNames)
                {
                    if (string.Equals(name, host, StringComparison.OrdinalIgnoreCase)) return true;
                    // A star stands for one label.
                    var dot = host.IndexOf('.');
                    if (name.StartsWith("*.", StringComparison.Ordinal) && dot > 0 && string.Equals(
                            name.Substring(1), host.Substring(dot), StringComparison.OrdinalIgnoreCase)) return true;
                }
                return false;
            }

            // Whether the certificate may sign others.
            private bool ReadExtensions(Der extensions)
            {
                var isAuthority = false;
                if (extensions.IsEmpty) return false;
                var extension = extensions.First();
                while (true)
                {
                    var name = extension.First();
                    var value = extension.After(name);
                    // In between may stand whether it is critical.
                    if (value.Tag != Der.OctetString) value = extension.After(value).Expect(Der.OctetString);
                    if (Equal(name.Content(), SubjectAlternativeName)) ReadNames(Der.Whole(value.Content()));
                    if (Equal(name.Content(), BasicConstraints))
                    {
                        var constraints = Der.Whole(value.Content());
                        isAuthority = !constraints.IsEmpty && constraints.First().Tag == 0x01 &&
                                      constraints.First().Content().Length == 1 &&
                                      constraints.First().Content()[0] != 0;
                    }
                    if (!extensions.Has(extension)) return isAuthority;
                    extension = extensions.After(extension);
                }
            }

            private void ReadNames(Der names)
            {
                if (names.IsEmpty) return;
                var name = names.First();
                while (true)
                {
                    var content = name.Content();
                    if (name.Tag == 0x82) _dnsNames.Add(Encoding.ASCII.GetString(content));
                    if (name.Tag == 0x87 && (content.Length == 4 || content.Length == 16))
                        _addresses.Add(new IPAddress(content));
                    if (!names.Has(name)) return;
                    name = names.After(name);
                }
            }

            private static DateTime Time(Der time)
            {
                var text = Encoding.ASCII.GetString(time.Content());
                // UTCTime has two digits of the year; from 50 on they mean 19xx.
                if (time.Tag == 0x17 && text.Length > 1) text = (text[0] >= '5' ? "19" : "20") + text;
                return DateTime.ParseExact(text, "yyyyMMddHHmmss'Z'", System.Globalization.CultureInfo.InvariantCulture,
                    System.Globalization.DateTimeStyles.AssumeUniversal |
                    System.Globalization.DateTimeStyles.AdjustToUniversal);
            }

            private static bool Equal(byte[] a, byte[] b)
            {
                if (a.Length != b.Length) return false;
                for (var i = 0; i < a.Length; i++)
                    if (a[i] != b[i]) return false;
                return true;
            }
        }
    }
}

// The golden vectors of protocol/vectors, which the Rust and the Godot tests read too.

using System;
using System.Collections.Generic;
using System.IO;
using System.Text;
using Muster.Json;
using Muster.Wire;
using NUnit.Framework;

namespace Muster.Tests
{
    public class VectorTests
    {
        // Where the vectors are; without the variable, as in a Unity project, these tests have nothing to read.
        private const string Variable = "MUSTER_VECTORS";

        private static JsonValue Vectors(string file)
        {
            var directory = Environment.GetEnvironmentVariable(Variable);
            if (string.IsNullOrEmpty(directory)) Assert.Ignore(Variable + " does not say where protocol/vectors is");
            return JsonValue.Parse(File.ReadAllText(Path.Combine(directory, file)));
        }

        [Test]
        public void PrefacesAreByteForByte()
        {
            var vectors = Vectors("preface.json");
            var token = vectors["token"].AsText();
            Assert.AreEqual(vectors["udp_preface"].AsText(), Hex(Preface.Encode(token)));
            Assert.AreEqual(vectors["tcp_preface"].AsText(), Hex(Preface.EncodeTcp(token)));
            // Older vectors have no claim.
            if (!vectors["udp_claim"].IsNull)
                Assert.AreEqual(vectors["udp_claim"].AsText(), Hex(Preface.EncodeClaim(token)));
        }

        [TestCase("accepted", PrefaceAnswer.Accepted)]
        [TestCase("refused_malformed", PrefaceAnswer.Malformed)]
        [TestCase("refused_untrusted", PrefaceAnswer.Untrusted)]
        [TestCase("refused_expired", PrefaceAnswer.Expired)]
        [TestCase("refused_wrong_port", PrefaceAnswer.WrongPort)]
        [TestCase("refused_unavailable", PrefaceAnswer.Unavailable)]
        public void AnswersAreRead(string name, PrefaceAnswer meaning)
        {
            var bytes = Bytes(Vectors("preface.json")[name].AsText());
            Assert.AreEqual(meaning, Preface.Decode(bytes, bytes.Length));
            for (var count = 0; count < bytes.Length; count++)
                Assert.AreEqual(PrefaceAnswer.None, Preface.Decode(bytes, count), "cut to " + count);
            var longer = new byte[bytes.Length + 1];
            bytes.CopyTo(longer, 0);
            Assert.AreEqual(PrefaceAnswer.None, Preface.Decode(longer, longer.Length));
            // A refusal has the vector's name as its code, and a text.
            if (meaning != PrefaceAnswer.Accepted) Assert.AreEqual(name, Preface.Refusal(meaning).Code);
        }

        [Test]
        public void BeaconsAreByteForByte()
        {
            var vectors = Vectors("preface.json");
            var nonce = Encoding.ASCII.GetBytes("nonce-01");
            Assert.AreEqual(vectors["beacon_request"].AsText(), Hex(Beacon.Encode(nonce)));
            var answer = Bytes(vectors["beacon_answer"].AsText());
            Assert.AreEqual(nonce, Beacon.Decode(answer, answer.Length));
            Assert.IsNull(Beacon.Decode(Beacon.Encode(nonce), 13), "a request is no answer");
        }

        [Test]
        public void TokensAreReadOrRefused()
        {
            foreach (var vector in Vectors("session_token.json")["cases"].Items)
            {
                var token = vector["token"].AsText();
                switch (vector["outcome"].AsText())
                {
                    case "valid":
                        var read = SessionToken.Read(token);
                        Assert.AreEqual(vector["namespace"].AsText(), read.Namespace);
                        Assert.AreEqual(vector["server"].AsText(), read.Server);
                        Assert.AreEqual(vector["port"].AsText(), read.Port);
                        Assert.AreEqual(vector["seat"].AsText(), read.Seat);
                        Assert.AreEqual(vector["player"].AsText(), read.Player);
                        Assert.AreEqual(vector["expires_at_ms"].AsLong(), read.ExpiresAtMs);
                        break;
                    case "malformed":
                        Assert.AreEqual(MusterCodes.RefusedMalformed,
                            Assert.Throws<MusterException>(() => SessionToken.Read(token)).Code);
                        break;
                    default:
                        // Whether it is true is the edge's to say; it reads all the same, or is refused.
                        try
                        {
                            SessionToken.Read(token);
                        }
                        catch (MusterException error)
                        {
                            Assert.AreEqual(MusterCodes.RefusedMalformed, error.Code);
                        }
                        break;
                }
            }
        }

        [Test]
        public void WhatIsNoTokenIsRefusedBeforeItIsSent()
        {
            foreach (var token in new[] { null, string.Empty, new string('x', Preface.MaxTokenBytes + 1) })
                Assert.AreEqual(MusterCodes.InvalidArgument,
                    Assert.Throws<MusterException>(() => Preface.Encode(token)).Code);
        }

        private static string Hex(IEnumerable<byte> bytes)
        {
            var text = new StringBuilder();
            foreach (var b in bytes) text.Append(b.ToString("x2"));
            return text.ToString();
        }

        private static byte[] Bytes(string hex)
        {
            var bytes = new byte[hex.Length / 2];
            for (var i = 0; i < bytes.Length; i++) bytes[i] = Convert.ToByte(hex.Substring(2 * i, 2), 16);
            return bytes;
        }
    }
}

// JSON: what is read is what was meant, and what is none is refused whatever it is.

using System;
using System.Text;
using Muster.Json;
using NUnit.Framework;

namespace Muster.Tests
{
    public class JsonTests
    {
        [Test]
        public void WhatIsWrittenIsReadAgain()
        {
            const string text = "{\"a\":[1,-2.5,1E+20,true,false,null],\"b\":{\"c\":\"\\\"\\\\\\n\\u0001é\\ud83d\\ude00\"}}";
            var value = JsonValue.Parse(text);
            Assert.AreEqual(text, JsonValue.Parse(value.ToString()).ToString());
            Assert.AreEqual("\"\\\n\u0001é\U0001F600", value["b"]["c"].AsText());
            Assert.AreEqual(-2.5, value["a"].Items[1].AsNumber());
        }

        [Test]
        public void WholeNumbersStayWhole()
        {
            Assert.AreEqual("1700000000123", JsonValue.Of(1700000000123).ToString());
            Assert.AreEqual(1700000000123, JsonValue.Parse("1700000000123").AsLong());
            Assert.AreEqual("0", JsonValue.Of(-0.0).ToString());
            Assert.AreEqual("null", JsonValue.Of(double.NaN).ToString());
        }

        [Test]
        public void WhatIsMissingIsTheFallback()
        {
            var value = JsonValue.Parse("{\"n\":1}");
            Assert.AreEqual("none", value["x"]["y"].AsText("none"));
            Assert.AreEqual(7, value["x"].AsInt(7));
            Assert.AreEqual(0, value["n"].Items.Count);
            Assert.AreEqual(int.MaxValue, JsonValue.Parse("1e300").AsInt());
        }

        [TestCase("")]
        [TestCase(" ")]
        [TestCase("{")]
        [TestCase("[1,]")]
        [TestCase("{\"a\":1,}")]
        [TestCase("{a:1}")]
        [TestCase("01")]
        [TestCase("1.")]
        [TestCase("1e")]
        [TestCase("-")]
        [TestCase("1e999")]
        [TestCase("nul")]
        [TestCase("\"\\x\"")]
        [TestCase("\"\\u12g4\"")]
        [TestCase("\"a")]
        [TestCase("\"\n\"")]
        [TestCase("1 2")]
        [TestCase("<html></html>")]
        [TestCase("\u0000")]
        public void WhatIsNoJsonIsRefused(string text)
        {
            var error = Assert.Throws<FormatException>(() => JsonValue.Parse(text));
            StringAssert.Contains("at character", error.Message);
        }

        [Test]
        public void NestingHasABound()
        {
            var deep = new string('[', JsonValue.MaxDepth) + new string(']', JsonValue.MaxDepth);
            Assert.AreEqual(JsonKind.List, JsonValue.Parse(deep).Kind);
            Assert.Throws<FormatException>(() => JsonValue.Parse(new string('[', 100000)));
            var list = JsonValue.NewList();
            for (var i = 0; i < JsonValue.MaxDepth + 1; i++) list = JsonValue.NewList().Add(list);
            Assert.Throws<InvalidOperationException>(() => list.ToString());
        }

        [Test]
        public void AnyBytesEndInAValueOrARefusal()
        {
            var random = new Random(1);
            const string alphabet = "{}[]\",:0123456789.eE+-truefalsn\\u \u0000é";
            for (var round = 0; round < 20000; round++)
            {
                var text = new StringBuilder();
                for (var i = random.Next(12); i > 0; i--) text.Append(alphabet[random.Next(alphabet.Length)]);
                try
                {
                    JsonValue.Parse(text.ToString());
                }
                catch (FormatException)
                {
                    // The one way to say no.
                }
            }
        }
    }
}

// Reads JSON as RFC 8259 has it, strictly, with a bound on nesting. What is read comes from the network: a text
// that is no JSON ends as a FormatException that names the place, whatever it is.

using System;
using System.Collections.Generic;
using System.Globalization;
using System.Text;

namespace Muster.Json
{
    internal sealed class JsonReader
    {
        // Longest number: more digits than a double has mean nothing.
        private const int MaxNumberChars = 64;

        private readonly string _text;
        private int _at;

        internal JsonReader(string text)
        {
            _text = text ?? throw new ArgumentNullException(nameof(text));
        }

        internal JsonValue Read()
        {
            var value = ReadValue(0);
            SkipSpace();
            if (_at != _text.Length) throw Wrong("something follows the value");
            return value;
        }

        private JsonValue ReadValue(int depth)
        {
            if (depth > JsonValue.MaxDepth) throw Wrong($"nested deeper than {JsonValue.MaxDepth}");
            SkipSpace();
            switch (Peek())
            {
                case '{': return ReadObject(depth);
                case '[': return ReadList(depth);
                case '"': return JsonValue.Of(ReadText());
                case 't': return ReadWord("true", JsonValue.Of(true));
                case 'f': return ReadWord("false", JsonValue.Of(false));
                case 'n': return ReadWord("null", JsonValue.Null);
                default: return ReadNumber();
            }
        }

        private JsonValue ReadObject(int depth)
        {
            var value = JsonValue.NewObject();
            // Of names that come twice the last counts; looked up here, as a list would make long objects slow.
            var members = new Dictionary<string, JsonValue>();
            var order = new List<string>();
            _at++;
            SkipSpace();
            if (Peek() == '}')
            {
                _at++;
                return value;
            }
            while (true)
            {
                SkipSpace();
                if (Peek() != '"') throw Wrong("a member's name is missing");
                var name = ReadText();
                SkipSpace();
                Expect(':');
                var member = ReadValue(depth + 1);
                if (!members.ContainsKey(name)) order.Add(name);
                members[name] = member;
                SkipSpace();
                if (Peek() == ',')
                {
                    _at++;
                    continue;
                }
                Expect('}');
                return JsonValue.OfMembers(order, members);
            }
        }

        private JsonValue ReadList(int depth)
        {
            var list = JsonValue.NewList();
            _at++;
            SkipSpace();
            if (Peek() == ']')
            {
                _at++;
                return list;
            }
            while (true)
            {
                list.Add(ReadValue(depth + 1));
                SkipSpace();
                if (Peek() == ',')
                {
                    _at++;
                    continue;
                }
                Expect(']');
                return list;
            }
        }

        private string ReadText()
        {
            _at++;
            var output = new StringBuilder();
            while (true)
            {
                var c = Next();
                if (c == '"') return output.ToString();
                if (c < ' ') throw Wrong("a control character stands in a text");
                output.Append(c == '\\' ? ReadEscape() : c);
            }
        }

        private char ReadEscape()
        {
            var c = Next();
            switch (c)
            {
                case '"':
                case '\\':
                case '/': return c;
                case 'b': return '\b';
                case 'f': return '\f';
                case 'n': return '\n';
                case 'r': return '\r';
                case 't': return '\t';
                case 'u':
                    var code = 0;
                    for (var i = 0; i < 4; i++)
                    {
                        var digit = HexDigit(Next());
                        if (digit < 0) throw Wrong("\\u needs four hexadecimal digits");
                        code = code * 16 + digit;
                    }
                    return (char)code;
                default: throw Wrong("unknown escape");
            }
        }

        private JsonValue ReadNumber()
        {
            var begin = _at;
            if (Peek() == '-') _at++;
            var whole = Digits();
            if (whole == 0) throw Wrong("no value is here");
            if (whole > 1 && _text[_at - whole] == '0') throw Wrong("a number begins with 0");
            if (Peek() == '.')
            {
                _at++;
                if (Digits() == 0) throw Wrong("digits are missing after the point");
            }
            if (Peek() == 'e' || Peek() == 'E')
            {
                _at++;
                if (Peek() == '+' || Peek() == '-') _at++;
                if (Digits() == 0) throw Wrong("the exponent is missing");
            }
            if (_at - begin > MaxNumberChars) throw Wrong("a number is too long");
            var text = _text.Substring(begin, _at - begin);
            // Older class libraries throw where newer ones give infinity.
            if (!double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var number) ||
                double.IsInfinity(number)) throw Wrong("a number is out of range");
            return JsonValue.Of(number);
        }

        private int Digits()
        {
            var begin = _at;
            while (Peek() >= '0' && Peek() <= '9') _at++;
            return _at - begin;
        }

        private JsonValue ReadWord(string word, JsonValue value)
        {
            if (string.CompareOrdinal(_text, _at, word, 0, word.Length) != 0) throw Wrong("no value is here");
            _at += word.Length;
            return value;
        }

        private void SkipSpace()
        {
            while (_at < _text.Length && (_text[_at] == ' ' || _text[_at] == '\n' || _text[_at] == '\r' ||
                                          _text[_at] == '\t')) _at++;
        }

        // NUL stands for the end; a real one is refused everywhere as well.
        private char Peek() => _at < _text.Length ? _text[_at] : '\0';

        private char Next()
        {
            if (_at >= _text.Length) throw Wrong("it ends too early");
            return _text[_at++];
        }

        private void Expect(char c)
        {
            if (Peek() != c) throw Wrong($"'{c}' is missing");
            _at++;
        }

        private static int HexDigit(char c)
        {
            if (c >= '0' && c <= '9') return c - '0';
            if (c >= 'a' && c <= 'f') return c - 'a' + 10;
            return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        }

        private FormatException Wrong(string what) => new FormatException($"not JSON: {what}, at character {_at + 1}");
    }
}

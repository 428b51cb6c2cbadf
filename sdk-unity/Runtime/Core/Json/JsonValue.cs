// A JSON value: what the API's answers are read from and its requests are made of.
//
// Not a serializer: nothing is found by reflection, so that code stripping in IL2CPP builds cannot break it.

using System;
using System.Collections.Generic;
using System.Globalization;
using System.Text;

namespace Muster.Json
{
    /// <summary>What a <see cref="JsonValue"/> is.</summary>
    public enum JsonKind
    {
        /// <summary><c>null</c>, or a member that is not there.</summary>
        Null,
        /// <summary><c>true</c> or <c>false</c>.</summary>
        Bool,
        /// <summary>A number.</summary>
        Number,
        /// <summary>A text.</summary>
        Text,
        /// <summary>A list.</summary>
        List,
        /// <summary>An object; its members keep their order.</summary>
        Object,
    }

    /// <summary>
    /// A JSON value. Reading what is not there gives <see cref="Null"/> or the fallback, never an exception: newer
    /// servers say more, older ones less.
    /// </summary>
    public sealed class JsonValue
    {
        /// <summary>Deepest nesting that is read or written.</summary>
        public const int MaxDepth = 64;

        /// <summary><c>null</c>.</summary>
        public static readonly JsonValue Null = new JsonValue(JsonKind.Null);

        private readonly bool _bool;
        private readonly double _number;
        private readonly string _text;
        private readonly List<JsonValue> _items;
        private readonly List<KeyValuePair<string, JsonValue>> _members;

        private JsonValue(
            JsonKind kind, bool flag = false, double number = 0, string text = null, List<JsonValue> items = null,
            List<KeyValuePair<string, JsonValue>> members = null)
        {
            Kind = kind;
            _bool = flag;
            _number = number;
            _text = text;
            _items = items;
            _members = members;
        }

        /// <summary>What it is.</summary>
        public JsonKind Kind { get; }

        /// <summary>Whether it is <c>null</c> or was not there.</summary>
        public bool IsNull => Kind == JsonKind.Null;

        /// <summary>The items of a list; empty for anything else.</summary>
        public IReadOnlyList<JsonValue> Items => _items ?? NoItems;

        /// <summary>The members of an object in their order; empty for anything else.</summary>
        public IReadOnlyList<KeyValuePair<string, JsonValue>> Members => _members ?? NoMembers;

        /// <summary>The member of that name; <see cref="Null"/> if there is none.</summary>
        public JsonValue this[string name]
        {
            get
            {
                if (_members != null)
                    foreach (var member in _members)
                        if (member.Key == name) return member.Value;
                return Null;
            }
        }

        private static readonly List<JsonValue> NoItems = new List<JsonValue>();

        private static readonly List<KeyValuePair<string, JsonValue>> NoMembers =
            new List<KeyValuePair<string, JsonValue>>();

        /// <summary>A truth value.</summary>
        public static JsonValue Of(bool value) => new JsonValue(JsonKind.Bool, flag: value);

        /// <summary>A number; one that is not finite becomes <c>null</c>, as JSON has none.</summary>
        public static JsonValue Of(double value) =>
            double.IsNaN(value) || double.IsInfinity(value) ? Null : new JsonValue(JsonKind.Number, number: value);

        /// <summary>A text; <c>null</c> stays <c>null</c>.</summary>
        public static JsonValue Of(string value) => value == null ? Null : new JsonValue(JsonKind.Text, text: value);

        /// <summary>A list of texts.</summary>
        public static JsonValue Of(IEnumerable<string> values)
        {
            var list = NewList();
            foreach (var value in values) list.Add(Of(value));
            return list;
        }

        /// <summary>An empty object, to be filled by <see cref="Set"/>.</summary>
        public static JsonValue NewObject() =>
            new JsonValue(JsonKind.Object, members: new List<KeyValuePair<string, JsonValue>>());

        /// <summary>An empty list, to be filled by <see cref="Add"/>.</summary>
        public static JsonValue NewList() => new JsonValue(JsonKind.List, items: new List<JsonValue>());

        internal static JsonValue OfMembers(List<string> order, Dictionary<string, JsonValue> members)
        {
            var list = new List<KeyValuePair<string, JsonValue>>(order.Count);
            foreach (var name in order) list.Add(new KeyValuePair<string, JsonValue>(name, members[name]));
            return new JsonValue(JsonKind.Object, members: list);
        }

        /// <summary>Reads a JSON text.</summary>
        /// <exception cref="FormatException">It is none, or nested deeper than <see cref="MaxDepth"/>.</exception>
        public static JsonValue Parse(string text) => new JsonReader(text).Read();

        /// <summary>Sets a member of an object, and gives the object back. <c>null</c> is left out.</summary>
        /// <exception cref="InvalidOperationException">It is no object.</exception>
        public JsonValue Set(string name, JsonValue value)
        {
            if (_members == null) throw new InvalidOperationException("members are set of objects only");
            if (value == null || value.IsNull) return this;
            var at = _members.FindIndex(member => member.Key == name);
            var entry = new KeyValuePair<string, JsonValue>(name, value);
            if (at < 0) _members.Add(entry);
            else _members[at] = entry;
            return this;
        }

        /// <summary>Adds an item to a list, and gives the list back.</summary>
        /// <exception cref="InvalidOperationException">It is no list.</exception>
        public JsonValue Add(JsonValue value)
        {
            if (_items == null) throw new InvalidOperationException("items are added to lists only");
            _items.Add(value ?? Null);
            return this;
        }

        /// <summary>The text, or <paramref name="fallback"/> if it is none.</summary>
        public string AsText(string fallback = "") => Kind == JsonKind.Text ? _text : fallback;

        /// <summary>The number, or <paramref name="fallback"/> if it is none.</summary>
        public double AsNumber(double fallback = 0) => Kind == JsonKind.Number ? _number : fallback;

        /// <summary>The number without its fraction, within the range of <c>long</c>, or the fallback.</summary>
        public long AsLong(long fallback = 0)
        {
            if (Kind != JsonKind.Number) return fallback;
            if (_number >= long.MaxValue) return long.MaxValue;
            return _number <= long.MinValue ? long.MinValue : (long)_number;
        }

        /// <summary>As <see cref="AsLong"/>, within the range of <c>int</c>.</summary>
        public int AsInt(int fallback = 0) =>
            Kind == JsonKind.Number ? (int)Math.Max(int.MinValue, Math.Min(int.MaxValue, AsLong())) : fallback;

        /// <summary>The truth value, or <paramref name="fallback"/> if it is none.</summary>
        public bool AsBool(bool fallback = false) => Kind == JsonKind.Bool ? _bool : fallback;

        /// <summary>The texts of a list; what is no text is left out.</summary>
        public List<string> AsTexts()
        {
            var texts = new List<string>();
            foreach (var item in Items)
                if (item.Kind == JsonKind.Text) texts.Add(item._text);
            return texts;
        }

        /// <summary>The members of an object that are texts.</summary>
        public Dictionary<string, string> AsTextMap()
        {
            var map = new Dictionary<string, string>();
            foreach (var member in Members)
                if (member.Value.Kind == JsonKind.Text) map[member.Key] = member.Value._text;
            return map;
        }

        /// <summary>The value as JSON, in one line.</summary>
        /// <exception cref="InvalidOperationException">It is nested deeper than <see cref="MaxDepth"/>.</exception>
        public override string ToString()
        {
            var output = new StringBuilder();
            Write(output, 0);
            return output.ToString();
        }

        private void Write(StringBuilder output, int depth)
        {
            if (depth > MaxDepth) throw new InvalidOperationException($"JSON is nested deeper than {MaxDepth}");
            switch (Kind)
            {
                case JsonKind.Null:
                    output.Append("null");
                    break;
                case JsonKind.Bool:
                    output.Append(_bool ? "true" : "false");
                    break;
                case JsonKind.Number:
                    output.Append(WriteNumber(_number));
                    break;
                case JsonKind.Text:
                    WriteText(output, _text);
                    break;
                case JsonKind.List:
                    output.Append('[');
                    for (var i = 0; i < _items.Count; i++)
                    {
                        if (i > 0) output.Append(',');
                        _items[i].Write(output, depth + 1);
                    }
                    output.Append(']');
                    break;
                default:
                    output.Append('{');
                    for (var i = 0; i < _members.Count; i++)
                    {
                        if (i > 0) output.Append(',');
                        WriteText(output, _members[i].Key);
                        output.Append(':');
                        _members[i].Value.Write(output, depth + 1);
                    }
                    output.Append('}');
                    break;
            }
        }

        // Whole numbers as such: the API's counts and times are integers and refuse "5.0" and "1E+15".
        private static string WriteNumber(double number) =>
            number == Math.Floor(number) && Math.Abs(number) < 1e15
                ? ((long)number).ToString(CultureInfo.InvariantCulture)
                : number.ToString("R", CultureInfo.InvariantCulture);

        private static void WriteText(StringBuilder output, string text)
        {
            output.Append('"');
            foreach (var c in text)
            {
                switch (c)
                {
                    case '"': output.Append("\\\""); break;
                    case '\\': output.Append("\\\\"); break;
                    case '\n': output.Append("\\n"); break;
                    case '\r': output.Append("\\r"); break;
                    case '\t': output.Append("\\t"); break;
                    default:
                        // Half of a pair alone is no UTF-8; escaped, it goes through unharmed.
                        if (c < ' ' || char.IsSurrogate(c) || c == '\u2028' || c == '\u2029')
                            output.Append("\\u").Append(((int)c).ToString("x4", CultureInfo.InvariantCulture));
                        else output.Append(c);
                        break;
                }
            }
            output.Append('"');
        }
    }
}

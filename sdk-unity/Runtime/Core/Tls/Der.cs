// As much of DER as certificates need: one element after the other, with bounds. What is read comes from the network.

using System;

namespace Muster.Tls
{
    // A piece of DER: a tag and where its content lies.
    internal readonly struct Der
    {
        internal const int Integer = 0x02;
        internal const int BitString = 0x03;
        internal const int OctetString = 0x04;
        internal const int Sequence = 0x30;

        private readonly byte[] _bytes;
        private readonly int _begin;
        private readonly int _content;

        private Der(byte[] bytes, int begin, int content, int end)
        {
            _bytes = bytes;
            _begin = begin;
            _content = content;
            End = end;
        }

        internal int Tag => _bytes[_begin];

        internal int End { get; }

        // The element that begins at `at` and ends before `limit`.
        internal static Der At(byte[] bytes, int at, int limit)
        {
            if (limit > bytes.Length || at < 0 || at + 2 > limit) throw Wrong();
            int length = bytes[at + 1], content = at + 2;
            if (length >= 0x80)
            {
                var count = length & 0x7F;
                if (count == 0 || count > 3 || content + count > limit) throw Wrong();
                length = 0;
                for (var i = 0; i < count; i++) length = (length << 8) | bytes[content + i];
                content += count;
            }
            if (length > limit - content) throw Wrong();
            return new Der(bytes, at, content, content + length);
        }

        internal static Der Whole(byte[] bytes) => At(bytes, 0, bytes.Length);

        internal bool IsEmpty => _content == End;

        // The first element within this one.
        internal Der First() => At(_bytes, _content, End);

        // The element after `child`, which lies within this one.
        internal Der After(Der child) => At(_bytes, child.End, End);

        internal bool Has(Der child) => child.End < End;

        internal Der Expect(int tag) => Tag == tag ? this : throw Wrong();

        internal byte[] Content() => Slice(_content);

        // With its tag and length, as a signature covers it.
        internal byte[] Bytes() => Slice(_begin);

        // A bit string's bytes, all of whose bits count.
        internal byte[] Bits()
        {
            Expect(BitString);
            if (IsEmpty || _bytes[_content] != 0) throw Wrong();
            return Slice(_content + 1);
        }

        private byte[] Slice(int from)
        {
            var slice = new byte[End - from];
            Buffer.BlockCopy(_bytes, from, slice, 0, slice.Length);
            return slice;
        }

        internal static FormatException Wrong() => new FormatException("a certificate is not DER as it has to be");
    }
}

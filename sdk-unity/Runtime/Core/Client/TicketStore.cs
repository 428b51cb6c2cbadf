// Where a player's machine keeps the tokens of its players' last tickets. They show that a seat is theirs when the game
// crashed and asks again; a name by itself shows nothing.

using System;
using System.Collections.Generic;
using Muster.Json;

namespace Muster
{
    /// <summary>
    /// Keeps one text where it survives what a game does not. Called by whoever asks for a match, on that thread, and
    /// before and after the call: so it has to be quick, and says nothing by exceptions.
    /// </summary>
    public interface ITicketStore
    {
        /// <summary>The text that was saved last; <c>null</c> if there is none, or it cannot be read.</summary>
        string Load();

        /// <summary>Keeps <paramref name="text"/>, at most some kilobytes, in the place of the one before.</summary>
        void Save(string text);
    }

    /// <summary>Keeps it as long as the process lives: for bots, for tests, and where nothing can be written.</summary>
    public sealed class MemoryTicketStore : ITicketStore
    {
        private volatile string _text;

        /// <inheritdoc/>
        public string Load() => _text;

        /// <inheritdoc/>
        public void Save(string text)
        {
            _text = text;
        }
    }

    // The tokens of one orchestrator's tickets, by their players' names.
    internal sealed class TicketMemory
    {
        // Players of one machine that are remembered; of more, those who asked last.
        internal const int MaxPlayers = 16;

        private readonly ITicketStore _store;
        private readonly string _url;
        private readonly object _lock = new object();

        internal TicketMemory(ITicketStore store, string url)
        {
            _store = store;
            _url = url;
        }

        // The token of the player's last ticket; null: none.
        internal string TokenOf(string player)
        {
            lock (_lock)
            {
                foreach (var entry in Read())
                    if (IsOf(entry, player)) return entry["token"].AsText(null);
            }
            return null;
        }

        internal void Remember(string player, string token)
        {
            if (string.IsNullOrEmpty(token)) return;
            lock (_lock)
            {
                var entries = Read();
                entries.RemoveAll(entry => IsOf(entry, player));
                entries.Add(JsonValue.NewObject()
                    .Set("player", JsonValue.Of(player)).Set("url", JsonValue.Of(_url)).Set("token", JsonValue.Of(token)));
                entries.RemoveRange(0, Math.Max(0, entries.Count - MaxPlayers));
                Write(entries);
            }
        }

        // Forgets the token, unless the player has a later ticket.
        internal void Forget(string token)
        {
            if (string.IsNullOrEmpty(token)) return;
            lock (_lock)
            {
                var entries = Read();
                if (entries.RemoveAll(entry => entry["token"].AsText() == token) > 0) Write(entries);
            }
        }

        private bool IsOf(JsonValue entry, string player) =>
            entry["player"].AsText() == player && entry["url"].AsText() == _url;

        private List<JsonValue> Read()
        {
            var text = _store.Load();
            try
            {
                if (!string.IsNullOrEmpty(text)) return new List<JsonValue>(JsonValue.Parse(text).Items);
            }
            catch (FormatException)
            {
                // Somebody else's text, or half of ours. A token that is lost costs a seat, and nothing else.
            }
            return new List<JsonValue>();
        }

        private void Write(List<JsonValue> entries)
        {
            var list = JsonValue.NewList();
            foreach (var entry in entries) list.Add(entry);
            _store.Save(list.ToString());
        }
    }
}

// The tokens of a player's last tickets in PlayerPrefs, which every platform of Unity's has.

using UnityEngine;

namespace Muster.Unity
{
    /// <summary>Keeps the players' last tickets in <c>PlayerPrefs</c>, so that they come back to their seats after a crash.</summary>
    public sealed class PlayerPrefsTicketStore : ITicketStore
    {
        private const string Key = "muster.tickets";

        /// <inheritdoc/>
        public string Load() => PlayerPrefs.GetString(Key, null);

        /// <inheritdoc/>
        public void Save(string text)
        {
            try
            {
                PlayerPrefs.SetString(Key, text);
                // By itself Unity writes when the game quits, which one that crashes does not.
                PlayerPrefs.Save();
            }
            catch (PlayerPrefsException error)
            {
                // As a browser says that lets no page keep anything.
                Debug.LogWarning("A player whose game crashes will not come back to their seat: " + error.Message);
            }
        }
    }
}

// What a project says of its Muster, in one asset that the editor window makes and the components read.

using UnityEngine;

namespace Muster.Unity
{
    /// <summary>The project's Muster: where it is, and what matches are asked of it.</summary>
    [CreateAssetMenu(fileName = AssetName, menuName = "Muster/Settings")]
    public sealed class MusterSettings : ScriptableObject
    {
        /// <summary>Name under a <c>Resources</c> directory by which it is found.</summary>
        public const string AssetName = "MusterSettings";

        [SerializeField, Tooltip("URL of the orchestrator's API")]
        private string url = "http://127.0.0.1:7400";

        [SerializeField, Tooltip("API token of role client; may be shipped. Empty: a backend hands out tickets")]
        private string clientToken = string.Empty;

        [SerializeField, Tooltip("Queue that matches are asked of")]
        private string queue = "quick";

        [SerializeField, Tooltip("Fleet whose servers host lobbies")]
        private string fleet = string.Empty;

        [SerializeField, Tooltip("Muster's CA (GET /v1/ca.pem), where certificates are signed by it. Empty: the system's")]
        private TextAsset authority = null;

        /// <summary>URL of the orchestrator's API.</summary>
        public string Url
        {
            get => url;
            set => url = value;
        }

        /// <summary>API token of role <c>client</c>.</summary>
        public string ClientToken
        {
            get => clientToken;
            set => clientToken = value;
        }

        /// <summary>Queue that matches are asked of.</summary>
        public string Queue
        {
            get => queue;
            set => queue = value;
        }

        /// <summary>Fleet whose servers host lobbies.</summary>
        public string Fleet
        {
            get => fleet;
            set => fleet = value;
        }

        /// <summary>The project's settings; those of a local <c>muster dev</c> if it has none.</summary>
        public static MusterSettings Load()
        {
            var settings = Resources.Load<MusterSettings>(AssetName);
            return settings != null ? settings : CreateInstance<MusterSettings>();
        }

        /// <summary>The core's options.</summary>
        public MusterOptions ToOptions() => new MusterOptions
        {
            Url = url,
            Token = string.IsNullOrEmpty(clientToken) ? null : clientToken,
            CaPem = authority != null ? authority.text : null,
            Tickets = new PlayerPrefsTicketStore(),
            Platform = EnginePlatform.ForThisBuild(),
        };
    }
}

// The server as a component: ready when the game says so, health by itself, seats, and the events in the inspector.

using System;
using System.Threading.Tasks;
using UnityEngine;
using UnityEngine.Events;

namespace Muster.Unity
{
    /// <summary>
    /// Makes a dedicated server build a good citizen of Muster. Outside of Muster it does nothing, so that the same scene
    /// runs in the editor.
    /// </summary>
    [AddComponentMenu("Muster/Muster Server")]
    public sealed class MusterServer : MonoBehaviour
    {
        [SerializeField, Tooltip("Say ready when the scene has started; else call ReadyAsync once the server listens")]
        private bool readyOnStart = false;

        [SerializeField, Tooltip("A match has claimed the server, or its seats have changed")]
        private UnityEvent allocated = new UnityEvent();

        [SerializeField, Tooltip("The match is to end")]
        private UnityEvent draining = new UnityEvent();

        private GameServer _server;

        /// <summary>The core's server, for all that this component has no method for.</summary>
        public GameServer Server => _server ?? (_server = new GameServer(null, EnginePlatform.ForThisBuild()));

        /// <summary>Whether this process was started by Muster.</summary>
        public bool UnderMuster => Server.UnderMuster;

        /// <summary>The match that claimed the server; <c>null</c>: none yet.</summary>
        public Allocation Match { get; private set; }

        /// <summary>A match has claimed the server, or its seats have changed.</summary>
        public UnityEvent Allocated => allocated;

        /// <summary>The match is to end: finish the round, then <see cref="ShutdownAsync"/>.</summary>
        public UnityEvent Draining => draining;

        /// <summary>The port to listen on; <paramref name="fallback"/> outside of Muster.</summary>
        public int Port(string name, int fallback) => Server.Environment.Port(name, fallback);

        /// <summary>Players can come.</summary>
        public Task ReadyAsync() => Say(() => Server.ReadyAsync());

        /// <summary>
        /// The player who showed this session token in their first message is here, and is who is given back; <c>null</c>: turn
        /// them away. Outside of Muster everybody is let in, by the name of the text they showed.
        /// </summary>
        public async Task<VerifiedSeat> AdmitAsync(string sessionToken)
        {
            if (!UnderMuster) return null;
            try
            {
                return await Server.ConnectedByTokenAsync(sessionToken);
            }
            catch (MusterException error)
            {
                Debug.LogWarning($"Muster: a player is turned away ({error.Code}). {error.Message}");
                return null;
            }
        }

        /// <summary>The player of this seat is here.</summary>
        public Task ConnectedAsync(string seatId) => Say(() => Server.ConnectedAsync(seatId));

        /// <summary>The player of this seat has dropped out; the seat is kept for a while.</summary>
        public Task DisconnectedAsync(string seatId) => Say(() => Server.DisconnectedAsync(seatId));

        /// <summary>The player of this seat has left for good.</summary>
        public Task ReleasedAsync(string seatId) => Say(() => Server.ReleasedAsync(seatId));

        /// <summary>The match is over: Muster stops the server. Outside of Muster the application quits.</summary>
        public async Task ShutdownAsync()
        {
            if (UnderMuster) await Say(() => Server.ShutdownAsync());
            else Application.Quit();
        }

        // Start of the engine has no Task to be awaited.
        private async void Start()
        {
            if (!UnderMuster) return;
            Server.Allocated += match =>
            {
                Match = match;
                allocated.Invoke();
            };
            Server.Draining += at => draining.Invoke();
            Server.Troubled += error => Debug.LogWarning($"Muster: {error.Message}");
            Server.Listen();
            if (readyOnStart) await ReadyAsync();
        }

        private async Task Say(Func<Task> say)
        {
            if (!UnderMuster) return;
            try
            {
                await say();
            }
            catch (MusterException error)
            {
                // The game goes on; what could not be said is in the log.
                Debug.LogError($"Muster: {error.Code}: {error.Message}");
            }
        }

        private void OnDestroy() => _server?.Dispose();
    }
}

// The client as a component: settings in, events out. All it adds to the core is the object's life and a place to put
// handlers in the inspector.

using System;
using System.Threading;
using System.Threading.Tasks;
using UnityEngine;
using UnityEngine.Events;

namespace Muster.Unity
{
    /// <summary>An event with a text.</summary>
    [Serializable]
    public sealed class TextEvent : UnityEvent<string>
    {
    }

    /// <summary>
    /// Finds matches and lobbies, and keeps the connection. Everything it starts ends with the object.
    /// </summary>
    [AddComponentMenu("Muster/Muster Client")]
    public sealed class MusterClient : MonoBehaviour
    {
        [SerializeField, Tooltip("Empty: the project's")]
        private MusterSettings settings = null;

        [SerializeField, Tooltip("Where the search stands, in words")]
        private TextEvent progressed = new TextEvent();

        [SerializeField, Tooltip("A seat was found")]
        private UnityEvent matched = new UnityEvent();

        [SerializeField, Tooltip("What went wrong, in words")]
        private TextEvent failed = new TextEvent();

        private readonly CancellationTokenSource _alive = new CancellationTokenSource();
        private MusterApi _api;

        /// <summary>The core's client, for all that this component has no method for.</summary>
        /// <exception cref="MusterException">The settings cannot be used.</exception>
        public MusterApi Api => _api ?? (_api = new MusterApi(Settings.ToOptions()));

        /// <summary>The settings.</summary>
        public MusterSettings Settings
        {
            get
            {
                if (settings == null) settings = MusterSettings.Load();
                return settings;
            }
        }

        /// <summary>The ticket that is searched with or played on; <c>null</c>: none.</summary>
        public MatchTicket Ticket { get; private set; }

        /// <summary>The connection, if it was made by <see cref="ConnectAsync"/>.</summary>
        public GameSession Session { get; private set; }

        /// <summary>Where the search stands, in words.</summary>
        public TextEvent Progressed => progressed;

        /// <summary>A seat was found.</summary>
        public UnityEvent Matched => matched;

        /// <summary>What went wrong, in words.</summary>
        public TextEvent Failed => failed;

        /// <summary>Asks the settings' queue for a match, and waits for a seat; when the time is over, the search ends.</summary>
        public Task<Assignment> FindMatchAsync(string player, float timeoutSeconds = 120) =>
            FindAsync(() => Api.FindMatchAsync(new MatchRequest(Settings.Queue, player), null, _alive.Token), timeoutSeconds);

        /// <summary>
        /// Asks by <paramref name="ask"/>, for a match, a lobby or a server, and waits for a seat; when the time is over, the
        /// search ends.
        /// </summary>
        public async Task<Assignment> FindAsync(Func<Task<MatchTicket>> ask, float timeoutSeconds = 120)
        {
            try
            {
                Ticket = await ask();
                Ticket.Progressed += now => progressed.Invoke(now.Explanation);
                var seat = await WaitAsync(Ticket, timeoutSeconds);
                matched.Invoke();
                return seat;
            }
            catch (MusterException error)
            {
                failed.Invoke(error.Message);
                throw;
            }
        }

        /// <summary>Connects to the server by the SDK's own transports, for games without a networking package.</summary>
        public async Task<GameSession> ConnectAsync(ConnectOptions options = null)
        {
            RequireTicket();
            try
            {
                Session = await Ticket.ConnectAsync(options, null, _alive.Token);
                Session.Failed += why => failed.Invoke(why.Message);
                return Session;
            }
            catch (MusterException error)
            {
                failed.Invoke(error.Message);
                throw;
            }
        }

        /// <summary>Claims the seat for a networking package: connect its transport to the endpoint within 10 s.</summary>
        public Task<Endpoint> ClaimAsync(string portName = null)
        {
            RequireTicket();
            return Ticket.ClaimAsync(portName, null, _alive.Token);
        }

        /// <summary>Leaves the search, or the match for good.</summary>
        public async Task LeaveAsync()
        {
            Session?.Dispose();
            Session = null;
            var ticket = Ticket;
            Ticket = null;
            if (ticket != null) await ticket.CancelAsync(null, _alive.Token);
        }

        // A ticket that nobody waits for would match others with nobody.
        private async Task<Assignment> WaitAsync(MatchTicket ticket, float timeoutSeconds)
        {
            MusterException late;
            try
            {
                return await ticket.WaitAsync(TimeSpan.FromSeconds(timeoutSeconds), _alive.Token);
            }
            catch (MusterException error) when (error.Code == MusterCodes.Timeout)
            {
                late = error;
            }
            await WithdrawAsync(ticket);
            throw new MusterException(MusterCodes.Timeout,
                $"No match was found in {timeoutSeconds:0} s, and the search was ended: {ticket.Current.Explanation}", late);
        }

        private static async Task WithdrawAsync(MatchTicket ticket)
        {
            try
            {
                await ticket.CancelAsync();
            }
            catch (MusterException error)
            {
                // It expires by itself.
                Debug.LogWarning($"Muster: a search could not be ended ({error.Code}). {error.Message}");
            }
        }

        private void RequireTicket()
        {
            if (Ticket == null)
                throw new MusterException(MusterCodes.InvalidArgument, "There is no ticket yet. Await FindMatchAsync first.");
        }

        private void OnApplicationPause(bool isPaused)
        {
            // A phone that slept may be on another network, and its sockets are dead without saying so.
            if (!isPaused && Session != null && Session.State == SessionState.Connected) Session.Reconnect();
        }

        // The engine's end of an object has no Task to be awaited.
        private async void OnDestroy()
        {
            _alive.Cancel();
            Session?.Dispose();
            if (Ticket != null && !Ticket.Current.IsOver) await WithdrawAsync(Ticket);
            _api?.Dispose();
        }
    }
}

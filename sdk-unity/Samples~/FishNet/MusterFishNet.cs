// FishNet on Tugboat, its UDP transport (token mode "claim"). Copy it into the project, beside FishNet. Who is who the server
// learns as in every FishNet game, by an Authenticator: let the client send `Token`, and show it to MusterServer.AdmitAsync.

using System.Threading.Tasks;
using FishNet.Managing;
using FishNet.Transporting;
using Muster;
using Muster.Unity;
using UnityEngine;

/// <summary>Joins FishNet to Muster, on both sides.</summary>
public sealed class MusterFishNet : MonoBehaviour
{
    private const int MaxRejoins = 5;

    [SerializeField]
    private NetworkManager manager = null;

    [SerializeField, Tooltip("The fleet's name for the port; it says token = \"claim\"")]
    private string portName = "game-udp";

    private int _rejoins;
    private bool _wantsToPlay;

    /// <summary>The seat's session token, for the client's Authenticator to send.</summary>
    public string Token { get; private set; }

    /// <summary>Finds a match and connects to its server.</summary>
    public async Task PlayAsync(string player)
    {
        await GetComponent<MusterClient>().FindMatchAsync(player);
        manager.ClientManager.OnClientConnectionState += OnState;
        _wantsToPlay = true;
        await ConnectAsync();
    }

    /// <summary>Listens on Muster's port, and says that players can come.</summary>
    public async Task ServeAsync(ushort fallbackPort = 7777)
    {
        var muster = GetComponent<MusterServer>();
        manager.ServerManager.StartConnection((ushort)muster.Port(portName, fallbackPort));
        await muster.ReadyAsync();
    }

    /// <summary>Stops the client without coming back.</summary>
    public void Leave()
    {
        _wantsToPlay = false;
        manager.ClientManager.StopConnection();
    }

    private async Task ConnectAsync()
    {
        var endpoint = await GetComponent<MusterClient>().ClaimAsync(portName);
        Token = endpoint.Token;
        manager.ClientManager.StartConnection(endpoint.Host, (ushort)endpoint.Port);
    }

    private async void OnState(ClientConnectionStateArgs args)
    {
        if (args.ConnectionState == LocalConnectionState.Started) _rejoins = 0;
        if (args.ConnectionState != LocalConnectionState.Stopped || !_wantsToPlay || ++_rejoins > MaxRejoins) return;
        try
        {
            await GetComponent<MusterClient>().Ticket.RefreshAsync();
            await ConnectAsync();
        }
        catch (MusterException error)
        {
            Debug.LogError($"{error.Code}: {error.Message}");
        }
    }
}

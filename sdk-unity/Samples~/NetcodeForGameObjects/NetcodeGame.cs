// Netcode for GameObjects: one scene for client and server. The object has MusterClient, MusterNetcodeClient, MusterServer and
// MusterNetcodeServer; the fleet's port says token = "claim".

using Muster;
using Muster.Netcode;
using Muster.Unity;
using UnityEngine;

/// <summary>Starts whichever side this build is.</summary>
public sealed class NetcodeGame : MonoBehaviour
{
    [SerializeField]
    private string player = "ann";

    private async void Start()
    {
        try
        {
            if (GetComponent<MusterServer>().UnderMuster)
            {
                await GetComponent<MusterNetcodeServer>().StartServerAsync();
                return;
            }
            await GetComponent<MusterClient>().FindMatchAsync(player);
            await GetComponent<MusterNetcodeClient>().StartClientAsync();
        }
        catch (MusterException error)
        {
            Debug.LogError($"{error.Code}: {error.Message}");
        }
    }
}

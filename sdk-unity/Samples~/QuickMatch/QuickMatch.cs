// Finds a match and talks to its server by the SDK's own transport: no networking package is needed. Put it on an object
// with a MusterClient.

using System.Text;
using Muster;
using Muster.Unity;
using UnityEngine;

/// <summary>Plays one match.</summary>
public sealed class QuickMatch : MonoBehaviour
{
    [SerializeField]
    private string player = "ann";

    private GameSession _session;

    private async void Start()
    {
        var muster = GetComponent<MusterClient>();
        try
        {
            await muster.FindMatchAsync(player);
            _session = await muster.ConnectAsync();
            await _session.SendAsync("hello");
        }
        catch (MusterException error)
        {
            Debug.LogError($"{error.Code}: {error.Message}");
        }
    }

    private void Update()
    {
        byte[] message;
        try
        {
            while (_session != null && _session.TryReceive(out message)) Debug.Log(Encoding.UTF8.GetString(message));
        }
        catch (MusterException error)
        {
            Debug.LogError($"{error.Code}: {error.Message}");
            _session = null;
        }
    }
}

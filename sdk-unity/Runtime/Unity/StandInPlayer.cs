// A server's container, while the project that it is built from is attached in somebody's editor: no scene is loaded, and
// players are passed on.

#if !UNITY_WEBGL && !UNITY_EDITOR
using System.Threading.Tasks;
using UnityEngine;

namespace Muster.Unity
{
    internal static class StandInPlayer
    {
        [RuntimeInitializeOnLoadMethod(RuntimeInitializeLoadType.BeforeSceneLoad)]
        private static void Begin()
        {
            var environment = ServerEnvironment.OfProcess();
            if (!environment.IsStandIn) return;
            Debug.Log($"Muster: stands in for the editor's server, at {environment.NodeHost}");
            // The engine waits here, so that the game is never begun; on the pool, since nothing goes on where it waits. Such a
            // process hears no SIGTERM, and is ended when its grace is over.
            Task.Run(() => StandIn.RunAsync(environment)).GetAwaiter().GetResult();
        }
    }
}
#endif

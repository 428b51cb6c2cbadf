// Attach for the editor: play mode with the variables of the container that stands in. What is done is in Core/Attachment.cs.
// Entering play mode reloads scripts, so what has to outlive that is in the editor's session.

using System;
using System.Collections.Generic;
using System.Threading.Tasks;
using Muster.Json;
using Muster.Net;
using UnityEditor;

namespace Muster.Editor
{
    /// <summary>Plays the project in the place of a server of the local stack.</summary>
    [InitializeOnLoad]
    internal static class EditorAttachment
    {
        // The variables, as JSON, while the project is attached; "{}" while its place is waited for.
        private const string Key = "Muster.Attached";
        // To replace the fleet's servers and start a container on a busy machine.
        private static readonly TimeSpan Patience = TimeSpan.FromSeconds(120);

        static EditorAttachment()
        {
            EditorApplication.playModeStateChanged += OnPlayModeChanged;
            if (!IsAttached) return;
            // Scripts were reloaded: on the way into play mode, or, if somebody saved one, while a place was waited for.
            if (EditorApplication.isPlayingOrWillChangePlaymode) Put(Attached());
            else EditorApplication.delayCall += () => Detach(UnityEngine.Debug.Log);
        }

        /// <summary>Whether the project has a server's place, or waits for one.</summary>
        internal static bool IsAttached => UnityEditor.SessionState.GetString(Key, string.Empty).Length > 0;

        /// <summary>Has a server of the fleet stand in, and plays the project in its place.</summary>
        internal static async Task<bool> Attach(Action<string> show)
        {
            UnityEditor.SessionState.SetString(Key, "{}");
            try
            {
                using (var platform = new NetPlatform())
                {
                    var attachment = new Attachment(MusterTool.Project, MusterTool.Path, MusterTool.Programs, platform, show);
                    var variables = await attachment.AttachAsync(Patience);
                    var json = JsonValue.NewObject();
                    foreach (var variable in variables) json.Set(variable.Key, JsonValue.Of(variable.Value));
                    UnityEditor.SessionState.SetString(Key, json.ToString());
                    Put(variables);
                    show($"the project is played in the place of {variables["MUSTER_SERVER_ID"]}");
                    EditorApplication.isPlaying = true;
                    return true;
                }
            }
            catch (MusterException error)
            {
                UnityEditor.SessionState.EraseString(Key);
                show(error.Message);
                return false;
            }
        }

        /// <summary>Ends it; play mode ends, too.</summary>
        internal static async void Detach(Action<string> show)
        {
            if (!IsAttached) return;
            foreach (var variable in Attached()) Environment.SetEnvironmentVariable(variable.Key, null);
            UnityEditor.SessionState.EraseString(Key);
            EditorApplication.isPlaying = false;
            try
            {
                using (var platform = new NetPlatform())
                    await new Attachment(MusterTool.Project, MusterTool.Path, MusterTool.Programs, platform, show).DetachAsync();
            }
            catch (MusterException error)
            {
                show(error.Message);
            }
        }

        private static void OnPlayModeChanged(PlayModeStateChange change)
        {
            if (change == PlayModeStateChange.EnteredEditMode) Detach(UnityEngine.Debug.Log);
        }

        private static Dictionary<string, string> Attached() =>
            JsonValue.Parse(UnityEditor.SessionState.GetString(Key, "{}")).AsTextMap();

        // For MusterServer, which reads its process's variables.
        private static void Put(IReadOnlyDictionary<string, string> variables)
        {
            foreach (var variable in variables) Environment.SetEnvironmentVariable(variable.Key, variable.Value);
        }
    }
}

// The window: a local stack, the project as its client and as its server, the server deployed to it, servers and logs. It only shows and
// calls; what is done is in MusterTool, EditorAttachment and ServerBuild.

using System;
using System.Threading.Tasks;
using Muster.Unity;
using UnityEditor;
using UnityEngine;

namespace Muster.Editor
{
    /// <summary>Window &gt; Muster.</summary>
    internal sealed class MusterWindow : EditorWindow
    {
        private const string SettingsDirectory = "Assets/Resources";

        private readonly MusterTool.Output _output = new MusterTool.Output();
        private Vector2 _scroll;
        private string _name = "my-game";
        private string _server = string.Empty;
        private bool _isBusy;

        [MenuItem("Window/Muster")]
        private static void Open() => GetWindow<MusterWindow>("Muster");

        private void OnGUI()
        {
            MusterTool.Path = EditorGUILayout.TextField("Program muster", MusterTool.Path);
            var stack = MusterTool.IsStackUp ? LocalStack.Of(MusterTool.Project) : null;
            EditorGUILayout.LabelField("Local stack", stack != null ? "up, " + stack.Url : MusterTool.IsStackUp ? "starting" : "down");
            using (new EditorGUILayout.HorizontalScope())
            {
                if (GUILayout.Button("Start")) MusterTool.StartStack(Show);
                if (GUILayout.Button("Stop")) MusterTool.StopStack(Show);
                if (GUILayout.Button("Play on it")) UseStack(stack);
            }
            EditorGUILayout.LabelField("This project as the server", EditorAttachment.IsAttached ? "attached" : "in containers");
            using (new EditorGUI.DisabledScope(stack == null || _isBusy))
            {
                if (EditorAttachment.IsAttached)
                {
                    if (GUILayout.Button("Detach")) EditorAttachment.Detach(Show);
                }
                else if (GUILayout.Button("Attach"))
                {
                    Busy(() => EditorAttachment.Attach(Show));
                }
            }
            EditorGUILayout.Space();
            _name = EditorGUILayout.TextField("Name of build and fleet", _name);
            using (new EditorGUI.DisabledScope(_isBusy))
                if (GUILayout.Button("Build and deploy the server"))
                    Busy(() => ServerBuild.BuildAndDeploy(_name, Show));
            EditorGUILayout.Space();
            using (new EditorGUILayout.HorizontalScope())
            {
                if (GUILayout.Button("Status")) Tool("status");
                if (GUILayout.Button("Servers")) Tool("server ls");
                if (GUILayout.Button("Queues")) Tool("queue ls");
            }
            using (new EditorGUILayout.HorizontalScope())
            {
                _server = EditorGUILayout.TextField("Server", _server);
                if (GUILayout.Button("Show") && _server.Length > 0) Tool("server show " + _server);
                if (GUILayout.Button("Log") && _server.Length > 0) Tool("server logs " + _server);
                // Its players finish first.
                if (GUILayout.Button("Stop") && _server.Length > 0) Tool("server stop " + _server);
            }
            _scroll = EditorGUILayout.BeginScrollView(_scroll);
            EditorGUILayout.TextArea(_output.Text, GUILayout.ExpandHeight(true));
            EditorGUILayout.EndScrollView();
        }

        private void OnInspectorUpdate() => Repaint();

        private void Show(string line) => _output.Add(line);

        private void Tool(string arguments) => Busy(() => MusterTool.Run(MusterTool.Path, arguments, Show));

        // One thing at a time; a button that is pressed cannot be awaited.
        private async void Busy(Func<Task<bool>> work)
        {
            if (_isBusy) return;
            _isBusy = true;
            try
            {
                if (!await work()) Show("that did not go well; what went wrong stands above");
            }
            catch (Exception error)
            {
                Show(error.Message);
            }
            finally
            {
                _isBusy = false;
            }
        }

        // The settings asset, with the stack's address and its token for game clients.
        private void UseStack(LocalStack stack)
        {
            if (stack == null)
            {
                Show("The stack has not said yet how it is reached. Start it first, and wait until it is up.");
                return;
            }
            var path = $"{SettingsDirectory}/{MusterSettings.AssetName}.asset";
            var settings = AssetDatabase.LoadAssetAtPath<MusterSettings>(path);
            if (settings == null)
            {
                settings = CreateInstance<MusterSettings>();
                if (!AssetDatabase.IsValidFolder(SettingsDirectory)) AssetDatabase.CreateFolder("Assets", "Resources");
                AssetDatabase.CreateAsset(settings, path);
            }
            settings.Url = stack.Url;
            settings.ClientToken = stack.ClientToken;
            settings.Fleet = _name;
            EditorUtility.SetDirty(settings);
            AssetDatabase.SaveAssets();
            Show($"{path} points to the local stack");
        }
    }
}

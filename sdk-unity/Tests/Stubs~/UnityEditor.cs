// As much of UnityEditor as the window uses; see UnityEngine.cs.

using System;
using UnityEngine;

namespace UnityEditor
{
    public class EditorWindow : ScriptableObject
    {
        public static T GetWindow<T>(string title) where T : EditorWindow => default(T);
        public void Repaint() { }
    }

    [AttributeUsage(AttributeTargets.Method)]
    public sealed class MenuItemAttribute : Attribute
    {
        public MenuItemAttribute(string path) { }
    }

    public static class EditorPrefs
    {
        public static string GetString(string key, string fallback) => fallback;
        public static void SetString(string key, string value) { }
    }

    public static class SessionState
    {
        public static int GetInt(string key, int fallback) => fallback;
        public static void SetInt(string key, int value) { }
        public static void EraseInt(string key) { }
        public static string GetString(string key, string fallback) => fallback;
        public static void SetString(string key, string value) { }
        public static void EraseString(string key) { }
    }

    [AttributeUsage(AttributeTargets.Class)]
    public sealed class InitializeOnLoadAttribute : Attribute { }

    public enum PlayModeStateChange
    {
        EnteredEditMode,
        ExitingEditMode,
        EnteredPlayMode,
        ExitingPlayMode,
    }

    public static class EditorApplication
    {
        public delegate void CallbackFunction();
        public static CallbackFunction delayCall;
        public static event Action<PlayModeStateChange> playModeStateChanged;
        public static bool isPlaying { get; set; }
        public static bool isPlayingOrWillChangePlaymode => false;
    }

    public static class EditorGUILayout
    {
        public static string TextField(string label, string text, params GUILayoutOption[] options) => text;
        public static string TextArea(string text, params GUILayoutOption[] options) => text;
        public static void LabelField(string label, string text, params GUILayoutOption[] options) { }
        public static void Space() { }
        public static Vector2 BeginScrollView(Vector2 position, params GUILayoutOption[] options) => position;
        public static void EndScrollView() { }

        public sealed class HorizontalScope : IDisposable
        {
            public HorizontalScope(params GUILayoutOption[] options) { }
            public void Dispose() { }
        }
    }

    public static class EditorGUI
    {
        public sealed class DisabledScope : IDisposable
        {
            public DisabledScope(bool isDisabled) { }
            public void Dispose() { }
        }
    }

    public static class AssetDatabase
    {
        public static T LoadAssetAtPath<T>(string path) where T : UnityEngine.Object => default(T);
        public static bool IsValidFolder(string path) => false;
        public static string CreateFolder(string parent, string name) => null;
        public static void CreateAsset(UnityEngine.Object asset, string path) { }
        public static void SaveAssets() { }
    }

    public static class EditorUtility
    {
        public static void SetDirty(UnityEngine.Object what) { }
    }

    public class EditorBuildSettingsScene
    {
        public bool enabled { get; set; }
        public string path { get; set; }
    }

    public static class EditorBuildSettings
    {
        public static EditorBuildSettingsScene[] scenes { get; set; }
    }

    public enum BuildTarget
    {
        StandaloneLinux64 = 24,
    }

    public enum StandaloneBuildSubtarget
    {
        Player = 2,
        Server = 1,
    }

    public struct BuildPlayerOptions
    {
        public string[] scenes { get; set; }
        public string locationPathName { get; set; }
        public BuildTarget target { get; set; }
        public int subtarget { get; set; }
    }

    public static class BuildPipeline
    {
        public static Build.Reporting.BuildReport BuildPlayer(BuildPlayerOptions options) => null;
    }
}

namespace UnityEditor.Build.Reporting
{
    public enum BuildResult
    {
        Unknown,
        Succeeded,
        Failed,
        Cancelled,
    }

    public struct BuildSummary
    {
        public BuildResult result => default(BuildResult);
    }

    public sealed class BuildReport : UnityEngine.Object
    {
        public BuildSummary summary => default(BuildSummary);
    }
}

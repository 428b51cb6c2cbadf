// As much of UnityEngine as the package uses, so that a compiler can check it where there is no Unity. Signatures only, by
// Unity's documentation; nothing here does anything.

using System;

namespace UnityEngine
{
    public class Object
    {
        public static bool operator ==(Object a, Object b) => ReferenceEquals(a, b);
        public static bool operator !=(Object a, Object b) => !ReferenceEquals(a, b);
        public override bool Equals(object other) => ReferenceEquals(this, other);
        public override int GetHashCode() => 0;
        public static void Destroy(Object what) { }
    }

    public class ScriptableObject : Object
    {
        public static T CreateInstance<T>() where T : ScriptableObject => default(T);
    }

    public class Component : Object
    {
        public T GetComponent<T>() => default(T);
        public GameObject gameObject => null;
    }

    public class GameObject : Object
    {
        public T AddComponent<T>() where T : Component => default(T);
    }

    public class Behaviour : Component
    {
        public bool enabled { get; set; }
    }

    public class MonoBehaviour : Behaviour { }

    public class TextAsset : Object
    {
        public string text => null;
    }

    public static class Resources
    {
        public static T Load<T>(string path) where T : Object => default(T);
    }

    public static class Application
    {
        public static string dataPath => null;
        public static RuntimePlatform platform => default(RuntimePlatform);
        public static void Quit() { }
    }

    public static class PlayerPrefs
    {
        public static string GetString(string key, string defaultValue) => defaultValue;
        public static void SetString(string key, string value) { }
        public static void Save() { }
    }

    public sealed class PlayerPrefsException : Exception { }

    public enum RuntimePlatform
    {
        OSXEditor,
        WindowsEditor,
        LinuxEditor,
    }

    public static class Debug
    {
        public static void Log(object message) { }
        public static void LogWarning(object message) { }
        public static void LogError(object message) { }
    }

    public struct Vector2 { }

    public class GUILayoutOption { }

    public static class GUILayout
    {
        public static bool Button(string text, params GUILayoutOption[] options) => false;
        public static GUILayoutOption ExpandHeight(bool expand) => null;
        public static void Label(string text, params GUILayoutOption[] options) { }
    }

    public class AsyncOperation
    {
        public bool isDone => true;
    }

    public enum RuntimeInitializeLoadType
    {
        AfterSceneLoad,
        BeforeSceneLoad,
    }

    [AttributeUsage(AttributeTargets.Method)]
    public sealed class RuntimeInitializeOnLoadMethodAttribute : Attribute
    {
        public RuntimeInitializeOnLoadMethodAttribute(RuntimeInitializeLoadType loadType) { }
    }

    [AttributeUsage(AttributeTargets.Field)]
    public sealed class SerializeFieldAttribute : Attribute { }

    [AttributeUsage(AttributeTargets.Field)]
    public sealed class TooltipAttribute : Attribute
    {
        public TooltipAttribute(string text) { }
    }

    [AttributeUsage(AttributeTargets.Class)]
    public sealed class AddComponentMenuAttribute : Attribute
    {
        public AddComponentMenuAttribute(string name) { }
    }

    [AttributeUsage(AttributeTargets.Class, AllowMultiple = true)]
    public sealed class RequireComponentAttribute : Attribute
    {
        public RequireComponentAttribute(Type type) { }
    }

    [AttributeUsage(AttributeTargets.Class)]
    public sealed class CreateAssetMenuAttribute : Attribute
    {
        public string fileName { get; set; }
        public string menuName { get; set; }
    }
}

namespace UnityEngine.Events
{
    public delegate void UnityAction();
    public delegate void UnityAction<T>(T argument);

    [Serializable]
    public class UnityEvent
    {
        public void Invoke() { }
        public void AddListener(UnityAction call) { }
    }

    [Serializable]
    public class UnityEvent<T>
    {
        public void Invoke(T argument) { }
        public void AddListener(UnityAction<T> call) { }
    }
}

namespace UnityEngine.Networking
{
    public class UploadHandler { }

    public class DownloadHandler
    {
        public byte[] data => null;
    }

    public sealed class UploadHandlerRaw : UploadHandler
    {
        public UploadHandlerRaw(byte[] data) { }
    }

    public sealed class DownloadHandlerBuffer : DownloadHandler { }

    public class UnityWebRequestAsyncOperation : AsyncOperation { }

    public class UnityWebRequest : IDisposable
    {
        public UnityWebRequest(string url, string method) { }
        public UploadHandler uploadHandler { get; set; }
        public DownloadHandler downloadHandler { get; set; }
        public long responseCode => 0;
        public ulong downloadedBytes => 0;
        public string error => null;
        public void SetRequestHeader(string name, string value) { }
        public UnityWebRequestAsyncOperation SendWebRequest() => null;
        public void Abort() { }
        public void Dispose() { }
    }
}

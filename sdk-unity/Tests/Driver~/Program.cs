// The driver of docs/sdk/conformance.md: hosts the SDK's core and does what it is told, a line at a time. Lines in, lines
// out, and the names of what was made; what each call does is in Calls.cs.

using System;
using System.Collections.Generic;
using System.IO;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using Muster.Json;

namespace Muster.Driver
{
    internal static class Program
    {
        private static readonly object Output = new object();
        private static readonly TextWriter Out = new StreamWriter(Console.OpenStandardOutput(), new UTF8Encoding(false));

        private static int Main()
        {
            var calls = new Calls(Write);
            var input = new StreamReader(Console.OpenStandardInput(), new UTF8Encoding(false));
            string line;
            while ((line = input.ReadLine()) != null)
            {
                JsonValue request;
                try
                {
                    request = JsonValue.Parse(line);
                }
                catch (FormatException error)
                {
                    Console.Error.WriteLine(error.Message);
                    return 1;
                }
                if (request["call"].AsText() == "quit")
                {
                    calls.CloseAll();
                    Answer(request, "ok", JsonValue.NewObject());
                    return 0;
                }
                // Each on its own: one that waits holds up nobody.
                Task.Run(() => Do(calls, request));
            }
            calls.CloseAll();
            return 0;
        }

        private static async Task Do(Calls calls, JsonValue request)
        {
            try
            {
                Answer(request, "ok", await calls.Do(request));
            }
            catch (Exception error)
            {
                Answer(request, "error", Calls.Describe(error));
            }
        }

        private static void Answer(JsonValue request, string kind, JsonValue what) =>
            Write(JsonValue.NewObject().Set("id", request["id"]).Set(kind, what));

        private static void Write(JsonValue line)
        {
            lock (Output)
            {
                Out.Write(line.ToString());
                Out.Write('\n');
                Out.Flush();
            }
        }
    }
}

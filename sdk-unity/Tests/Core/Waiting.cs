// How tests wait: for a condition or a task, with a deadline that only a hang reaches.

using System;
using System.Threading;
using System.Threading.Tasks;
using NUnit.Framework;

namespace Muster.Tests
{
    internal static class Waiting
    {
        // Far beyond what anything here takes.
        private static readonly TimeSpan Hang = TimeSpan.FromSeconds(20);

        internal static T For<T>(Func<Task<T>> work)
        {
            // On the pool: a test's thread that is blocked could not go on with what it waits for.
            var task = Task.Run(work);
            if (Task.WhenAny(task, Task.Delay(Hang)).Result != task) Assert.Fail("nothing came of it: it hangs");
            return task.GetAwaiter().GetResult();
        }

        internal static void For(Func<Task> work) => For(async () =>
        {
            await work();
            return true;
        });

        internal static void Until(string what, Func<bool> holds)
        {
            var end = DateTime.UtcNow + Hang;
            while (!holds())
            {
                if (DateTime.UtcNow > end) Assert.Fail("never: " + what);
                Thread.Sleep(5);
            }
        }

        // The exception that `work` ends in; its message has to help.
        internal static MusterException Fails(string code, Func<Task> work)
        {
            var error = Assert.Throws<MusterException>(() => For(work));
            Assert.AreEqual(code, error.Code, error.Message);
            Assert.That(error.Message.Length, Is.GreaterThan(20), "a message says what happened and what to do");
            return error;
        }
    }
}

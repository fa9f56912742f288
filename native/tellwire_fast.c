/* The fan-out loop of tellwire in C: one write to each of a thousand connections.
 *
 * A connection of tellwire begins with a Link, if this package is there (src/tellwire/server/link.py, which has the same
 * in Python). The loop reads these fields alone, and writes to the descriptor. What the kernel does not take is left to
 * the caller, who gives it to the connection's transport, so that order and bounds are the transport's.
 *
 * The stable ABI of CPython 3.11: one wheel for it and all later versions.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <structmember.h>

#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

/* The calls and fields below; tellwire uses no other version. */
enum { VERSION = 1 };

/* Other threads, such as one that commits to SQLite, get their turn after so many writes: about a millisecond. */
enum { WRITES_PER_TURN = 128 };

enum { NOT_READY = -1 };

typedef struct {
    PyObject_HEAD
    int fd;
    char is_ready;
    double expires_at;
    double last_active_at;
} Link;

static PyMemberDef link_members[] = {
    {"fd", T_INT, offsetof(Link, fd), 0, "The descriptor for writing beside the transport; -1: there is none."},
    {"is_ready", T_BOOL, offsetof(Link, is_ready), 0, "Open, and the kernel has taken all that was sent."},
    {"expires_at", T_DOUBLE, offsetof(Link, expires_at), 0, "A time of the wall clock."},
    {"last_active_at", T_DOUBLE, offsetof(Link, last_active_at), 0, "A time of the monotonic clock."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot link_slots[] = {
    {Py_tp_doc, "The fields of a connection that a fan-out reads and writes."},
    {Py_tp_members, link_members},
    {0, NULL},
};

static PyType_Spec link_spec = {
    .name = "tellwire_fast.Link",
    .basicsize = sizeof(Link),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = link_slots,
};

typedef struct {
    PyTypeObject *link_type;
} State;

/* The number of bytes that the kernel has taken. An error is the transport's to find: it writes the same bytes. */
static Py_ssize_t write_to(const Link *link, const char *frames, Py_ssize_t size) {
    if (link->fd < 0) return 0;
    ssize_t written;
    do {
        written = send(link->fd, frames, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (written < 0 && errno == EINTR);
    return written < 0 ? 0 : (Py_ssize_t)written;
}

static int add_left(PyObject *left, PyObject *connection, Py_ssize_t written) {
    PyObject *pair = Py_BuildValue("(On)", connection, written);
    if (pair == NULL) return -1;
    int failed = PyList_Append(left, pair);
    Py_DECREF(pair);
    return failed;
}

PyDoc_STRVAR(write_ready_doc,
             "write_ready(connections, frames, now, active_at)\n--\n\n"
             "Write frames to the connections that are ready and have not expired. Return the others, with -1, and\n"
             "those that have not taken all, with the number of bytes that they have taken.");

static PyObject *write_ready(PyObject *module, PyObject *const *arguments, Py_ssize_t count) {
    State *state = PyModule_GetState(module);
    if (count != 4 || !PyList_Check(arguments[0]) || !PyBytes_Check(arguments[1])) {
        PyErr_SetString(PyExc_TypeError, "write_ready takes a list of connections, bytes, and two times");
        return NULL;
    }
    PyObject *connections = arguments[0];
    char *frames;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(arguments[1], &frames, &size) < 0) return NULL;
    double now = PyFloat_AsDouble(arguments[2]);
    double active_at = PyFloat_AsDouble(arguments[3]);
    if (PyErr_Occurred()) return NULL;

    PyObject *left = PyList_New(0);
    if (left == NULL) return NULL;
    Py_ssize_t length = PyList_Size(connections);
    int writes = 0;
    for (Py_ssize_t index = 0; index < length; index++) {
        PyObject *connection = PyList_GetItem(connections, index);
        if (connection == NULL) goto failed;
        if (!PyObject_TypeCheck(connection, state->link_type)) {
            PyErr_SetString(PyExc_TypeError, "write_ready takes connections that begin with a Link");
            goto failed;
        }
        Link *link = (Link *)connection;
        Py_ssize_t written = NOT_READY;
        if (link->is_ready && now < link->expires_at) {
            link->last_active_at = active_at;
            written = write_to(link, frames, size);
            if (++writes == WRITES_PER_TURN) {
                writes = 0;
                Py_BEGIN_ALLOW_THREADS
                Py_END_ALLOW_THREADS
            }
        }
        if (written != size && add_left(left, connection, written) < 0) goto failed;
    }
    return left;

failed:
    Py_DECREF(left);
    return NULL;
}

static PyMethodDef methods[] = {
    {"write_ready", (PyCFunction)(void (*)(void))write_ready, METH_FASTCALL, write_ready_doc},
    {NULL, NULL, 0, NULL},
};

static int set_up(PyObject *module) {
    State *state = PyModule_GetState(module);
    state->link_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &link_spec, NULL);
    if (state->link_type == NULL) return -1;
    if (PyModule_AddObjectRef(module, "Link", (PyObject *)state->link_type) < 0) return -1;
    return PyModule_AddIntConstant(module, "VERSION", VERSION);
}

static int traverse(PyObject *module, visitproc visit, void *arg) {
    State *state = PyModule_GetState(module);
    if (state != NULL) Py_VISIT(state->link_type);
    return 0;
}

static int clear(PyObject *module) {
    State *state = PyModule_GetState(module);
    if (state != NULL) Py_CLEAR(state->link_type);
    return 0;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, set_up}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "tellwire_fast",
    .m_doc = "The fan-out loop of tellwire in C.",
    .m_size = sizeof(State),
    .m_methods = methods,
    .m_slots = module_slots,
    .m_traverse = traverse,
    .m_clear = clear,
};

PyMODINIT_FUNC PyInit_tellwire_fast(void) { return PyModuleDef_Init(&definition); }

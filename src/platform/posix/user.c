#include "platform/platform.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sys/types.h>
#include <unistd.h>

/* NULL: `e` says why. The result is getpwnam's own and lasts until the next look-up. */
static const struct passwd *find_user(const char *user, struct err *e)
{
    errno = 0;
    const struct passwd *found = getpwnam(user);
    if (!found && errno != 0)
        err_set(e, ERR_IO, "[service] user = %s: the user cannot be looked up: %s", user,
            strerror(errno));
    else if (!found)
        err_set(e, ERR_CONFIG,
            "[service] user = %s: this machine has no such user; run: useradd --system "
            "--home-dir /var/lib/submitd --shell /usr/sbin/nologin %s (or set user = root to stay "
            "root, in a container for one)",
            user, user);
    return found;
}

/* Started by somebody: submitd stays that one. The default is then no wish of the operator's. */
static bool accept_present_user(const char *user, struct err *e)
{
    if (strcmp(user, PLATFORM_SERVICE_USER) == 0)
        return true;
    const struct passwd *found = find_user(user, e);
    if (!found)
        return false;
    if (found->pw_uid == geteuid())
        return true;
    return err_set(e, ERR_CONFIG,
        "[service] user = %s: submitd was started by another user (id %lu), and only root can "
        "change that; start it as root or as %s, or leave the option out",
        user, (unsigned long)geteuid(), user);
}

/* Every id, and no way back: that is what the whole drop is for. */
static bool has_become(uid_t uid, gid_t gid)
{
    uid_t real_user, user, saved_user;
    gid_t real_group, group, saved_group;
    if (getresuid(&real_user, &user, &saved_user) != 0 ||
        getresgid(&real_group, &group, &saved_group) != 0)
        return false;
    return real_user == uid && user == uid && saved_user == uid && real_group == gid &&
           group == gid && saved_group == gid && setuid(0) != 0 && seteuid(0) != 0;
}

bool platform_become_user(const char *user, struct err *e)
{
    if (geteuid() != 0)
        return accept_present_user(user, e);
    const struct passwd *found = find_user(user, e);
    if (!found)
        return false;
    uid_t uid = found->pw_uid;
    gid_t gid = found->pw_gid;
    if (uid == 0)
        return true;
    /* Groups first: afterwards nobody may change them. */
    if (initgroups(user, gid) != 0 || setresgid(gid, gid, gid) != 0 ||
        setresuid(uid, uid, uid) != 0)
        return err_set(
            e, ERR_IO, "[service] user = %s: cannot become this user: %s", user, strerror(errno));
    if (!has_become(uid, gid))
        return err_set(e, ERR_IO, "[service] user = %s: root's rights could not be given up", user);
    platform_protect_memory();
    return true;
}

"""A PR service that is never started."""


class PRServiceConfigError(Exception):
    pass


def auto_start(_):
    return None


def auto_shutdown():
    pass

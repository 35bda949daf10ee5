//! Following a reference whose database is in PostgreSQL.

use fingerpost_db::postgres::PostgresSettings;

use super::fixture::OPTIONS;
use super::following::assert_same;
use super::postgres::World;
use crate::moving::{Depth, FollowedSource, Following, Round, Silent};

fn follow<T>(world: &World, act: impl FnOnce(Following<'_>) -> T) -> T {
    let settings = PostgresSettings::from_url(&world.url()).unwrap();
    let source = FollowedSource::Postgres {
        runtime: world.runtime.handle(),
        settings: &settings,
    };
    act(Following::begin(source, &world.farm.path("followed.db"), &OPTIONS).unwrap())
}

fn round(world: &World, depth: Depth) -> Round {
    follow(world, |mut following| {
        following.round(depth, OPTIONS.now, &mut Silent).unwrap()
    })
}

#[test]
fn a_live_farm_in_postgresql_arrives_as_it_is_at_the_end() {
    let world = World::current();
    world.fill(700);
    let first = round(&world, Depth::New);
    assert_eq!((first.mappings.added, first.outputs.added), (700, 700));
    // Numbers that were given before become visible late.
    world.sql(
        "INSERT INTO unihashes_v3 (id, method, taskhash, unihash, gc_mark)
             SELECT 800 + n, 'm', hash('late', n), hash('u', n), '' FROM generate_series(5, 20) n;
         INSERT INTO outhashes_v2 (id, method, taskhash, outhash, created, outhash_siginfo)
             SELECT 800 + n, 'm', hash('late', n), hash('o', n), timestamp '2026-03-01', 'text'
               FROM generate_series(5, 20) n;
         DELETE FROM unihashes_v3 WHERE id % 10 = 0;
         DELETE FROM outhashes_v2 WHERE id % 9 = 0 AND id < 800;",
    );
    let second = round(&world, Depth::New);
    assert_eq!((second.mappings.added, second.mappings.removed), (14, 0));
    world.sql(
        "INSERT INTO unihashes_v3 (id, method, taskhash, unihash, gc_mark)
             SELECT 800 + n, 'm', hash('late', n), hash('u', n), '' FROM generate_series(0, 4) n;
         INSERT INTO outhashes_v2 (id, method, taskhash, outhash, created, outhash_siginfo)
             SELECT 800 + n, 'm', hash('late', n), hash('o', n), timestamp '2026-03-01', 'text'
               FROM generate_series(0, 4) n;
         UPDATE unihashes_v3 SET gc_mark = 'L' WHERE id % 2 = 0;
         UPDATE config SET value = 'L';
         DELETE FROM users WHERE username = 'alice';",
    );
    let third = round(&world, Depth::All);
    assert_eq!((third.mappings.added, third.outputs.added), (5, 5));
    assert!(third.mappings.removed > 60 && third.mappings.marked > 200 && third.users == 1);
    world.sql("UPDATE unihashes_v3 SET gc_mark = 'M'; UPDATE users SET token = 'sha256:0:1'");
    let finished = follow(&world, |following| following.finish(&mut Silent).unwrap());
    assert_eq!(finished.round.healed, 0);

    world.import();
    let followed = rusqlite::Connection::open(world.farm.path("followed.db")).unwrap();
    assert_same(&followed, &world.farm.imported());
}

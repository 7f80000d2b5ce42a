/** Advice names commands, never calls. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { adviceOf } from './advice.ts';

test('advice of the gateway is said in commands', () => {
  for (const [said, command] of [
    ['Declare it first: PUT /v1/topics/orders.lost', 'Declare it first: millrace topic create orders.lost'],
    ['Wait for one of them, or cancel it: GET /v1/operations.', 'Wait for one of them, or cancel it: millrace operation list'],
    ['Send them to POST /v1/events.', 'Send them to millrace publish --file PATH'],
    ['Make one without an audience: POST /v1/tokens.', 'Make one without an audience: millrace token create'],
    ['Add it to them: PATCH /v1/apps/{app} with {"origins": [...]}.', 'Add it to them: millrace app update APP --origin ORIGIN'],
    ['Ask for it with ?subscription=… in the list.', undefined],
    ['Something new: POST /v1/thing', undefined],
    ['Start with --metrics all to open it.', 'Start with --metrics all to open it.'],
    [undefined, undefined],
  ] as const)
    assert.equal(adviceOf(said), command);
});

<?php
// A receiver of the bridge's events in one file. Put it behind your web server as one URL; the environment names
// ORDERS_DB (an SQLite file) and NOTIFY_SECRETS (one secret, two while it is being rotated, a space between them).
declare(strict_types=1);

/** Standard Webhooks: HMAC-SHA256 over id.timestamp.body, any of our secrets, at most five minutes old. */
function is_genuine(array $headers, string $body, array $secrets): bool
{
    $stamp = $headers['webhook-timestamp'];
    if (!preg_match('/^[0-9]{1,12}$/D', $stamp) || abs(time() - (int) $stamp) > 300) {
        return false;
    }
    $genuine = false;
    foreach ($secrets as $secret) {
        $key = base64_decode(substr($secret, strlen('whsec_')), true);
        $wanted = base64_encode(hash_hmac('sha256', "{$headers['webhook-id']}.$stamp.$body", (string) $key, true));
        foreach (explode(' ', $headers['webhook-signature']) as $part) {
            $genuine = ($key !== false && $key !== '' && hash_equals("v1,$wanted", $part)) || $genuine;
        }
    }
    return $genuine;
}

/** The HTTP status to answer. 2xx: never again. 401, 409, 422: a person looks. 5xx: again later. */
function receive(PDO $orders, array $headers, string $body, array $secrets): int
{
    if (!is_genuine($headers, $body, $secrets)) {
        return 401;
    }
    $invoice = json_decode($body, true, 32, JSON_THROW_ON_ERROR)['invoice'] ?? null;
    // Only the absolute state counts, whatever the type is: events may come twice and, after a repeat, out of order.
    if ($invoice === null || $invoice['status'] !== 'settled' || $invoice['hold'] !== null) {
        return 200;
    }
    $found = $orders->prepare('SELECT price, currency FROM orders WHERE id = ?');
    $found->execute([$invoice['billing_payment_id']]);
    $order = $found->fetch(PDO::FETCH_ASSOC);
    if ($order === false) {
        return 409;
    }
    // Amounts are text; compare them as text of the same length, never as a float.
    if ([$order['price'], $order['currency']] !== [$invoice['amount'], $invoice['currency']]) {
        return 422;
    }
    // Paid once is paid: the same news again changes nothing.
    $orders->prepare("UPDATE orders SET paid = ? WHERE id = ? AND paid = ''")
        ->execute([$invoice['id'], $invoice['billing_payment_id']]);
    return 200;
}

$headers = [];
foreach (['webhook-id', 'webhook-timestamp', 'webhook-signature'] as $name) {
    $headers[$name] = (string) ($_SERVER['HTTP_' . strtoupper(strtr($name, '-', '_'))] ?? '');
}
try {
    $orders = new PDO('sqlite:' . getenv('ORDERS_DB'), null, null, [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
    $body = (string) file_get_contents('php://input');
    http_response_code(receive($orders, $headers, $body, explode(' ', (string) getenv('NOTIFY_SECRETS'))));
} catch (Throwable $defect) { // ours, not the bridge's: let it come again
    error_log((string) $defect);
    http_response_code(503);
}
